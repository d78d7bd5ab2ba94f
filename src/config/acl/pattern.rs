//! What a test compares with: flags, then patterns, read as the thing that is looked at wants it.

use std::ops::RangeInclusive;
use std::path::Path;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::{Fault, Scope};
use crate::config::import::Word;
use crate::model::rule::Pattern;
use crate::model::{Networks, Prefix};
use crate::rules::Expressions;

/// The words after a fetch.
pub(super) struct Patterns<'w> {
    /// Those of the line, then those of the files.
    pub(super) words: Vec<Word>,
    method: Option<&'w Word>,
    ignore_case: bool,
}

/// Flags, then patterns, then those of files.
pub(super) fn read<'w>(fetch: &Word, words: &'w [Word], scope: &Scope<'_>) -> Result<Patterns<'w>, Fault> {
    let mut patterns = Patterns { words: Vec::new(), method: None, ignore_case: false };
    let mut files = Vec::new();
    let mut of_maps = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| Fault::new(word.at, format!("`{}` wants a value after it", word.text)));
        match word.as_str() {
            "-i" => patterns.ignore_case = true,
            "-m" => patterns.method = Some(value()?),
            "-f" => files.push(value()?),
            // A file of keys and values, of which the keys count.
            "-M" => of_maps = true,
            // Names are never resolved here; the number matters to a control socket only.
            "-n" => {}
            "-u" => _ = value()?,
            "--" => {
                patterns.words.extend(words.cloned());
                break;
            }
            flag if flag.starts_with('-') && flag.len() > 1 => {
                let message = format!("`{flag}` is not a flag: write `--` before a pattern that begins with `-`");
                return Err(Fault::new(word.at, message));
            }
            _ => {
                patterns.words.push(word.clone());
                patterns.words.extend(words.cloned());
                break;
            }
        }
    }
    for file in files {
        patterns.words.extend(of_file(file, of_maps, scope)?);
    }
    if patterns.method.is_some_and(|method| method.text == "found") && !patterns.words.is_empty() {
        return Err(Fault::new(fetch.at, "`-m found` compares with nothing: leave the patterns out"));
    }
    Ok(patterns)
}

/// One pattern a line; empty lines and those that begin with `#` do not count.
fn of_file(path: &Word, of_maps: bool, scope: &Scope<'_>) -> Result<Vec<Word>, Fault> {
    let text = (scope.read)(Path::new(&path.text))
        .map_err(|error| Fault::new(path.at, format!("`{}` cannot be read: {error}", path.text)))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let patterns = lines.map(|line| line.split([' ', '\t']).next().filter(|_| of_maps).unwrap_or(line));
    Ok(patterns.map(|pattern| Word { text: pattern.to_owned(), at: path.at }).collect())
}

impl Patterns<'_> {
    /// Of words alone.
    pub(super) fn of(words: Vec<Word>) -> Self {
        Self { words, method: None, ignore_case: false }
    }

    /// What `-m` says.
    pub(super) fn method(&self) -> Option<&str> {
        self.method.map(Word::as_str)
    }

    fn only_method(&self, allowed: &[&str]) -> Result<(), Fault> {
        match self.method {
            Some(method) if !allowed.contains(&method.as_str()) => {
                Err(Fault::new(method.at, format!("`-m {}` cannot be asked here yet", method.text)))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn networks(&self) -> Result<Networks, Fault> {
        self.only_method(&["ip"])?;
        let networks =
            self.words.iter().map(|word| network(&word.text).map_err(|message| Fault::new(word.at, message)));
        Ok(Networks::new(networks.collect::<Result<_, _>>()?))
    }

    /// Numbers and ranges; after `eq`, `ge`, `gt`, `le` or `lt`, numbers in that relation. What is asked is never below `least`.
    pub(super) fn numbers(
        &self,
        least: i64,
        read: impl Fn(&str) -> Result<i64, String>,
    ) -> Result<Vec<RangeInclusive<i64>>, Fault> {
        self.only_method(&["int", "bool"])?;
        if self.method.is_some_and(|method| method.text == "bool") {
            // Whatever is not 0.
            let below = (least < 0).then_some(i64::MIN..=-1);
            return Ok([1..=i64::MAX].into_iter().chain(below).collect());
        }
        let mut relation = "eq";
        let mut ranges = Vec::new();
        for word in &self.words {
            let number = |text: &str| read(text).map_err(|message| Fault::new(word.at, message));
            let text = word.as_str();
            if matches!(text, "eq" | "ge" | "gt" | "le" | "lt") {
                relation = text;
                continue;
            }
            // HAProxy takes `80-90` for `80:90`, though it does not say so.
            let range = text.split_once([':', '-']).filter(|_| !text.starts_with('-'));
            let range = match (relation, range) {
                ("eq", Some((first, last))) => {
                    let first = if first.is_empty() { i64::MIN } else { number(first)? };
                    let last = if last.is_empty() { i64::MAX } else { number(last)? };
                    if last < first {
                        return Err(Fault::new(word.at, format!("the range `{text}` ends before it begins")));
                    }
                    first..=last
                }
                (_, Some(_)) => {
                    return Err(Fault::new(word.at, format!("`{relation}` and a range do not go together")));
                }
                ("ge", None) => number(text)?..=i64::MAX,
                ("gt", None) => number(text)?.saturating_add(1)..=i64::MAX,
                ("le", None) => i64::MIN..=number(text)?,
                ("lt", None) => i64::MIN..=number(text)?.saturating_sub(1),
                (_, None) => number(text)?..=number(text)?,
            };
            if *range.end() < least {
                return Err(Fault::new(word.at, format!("nothing is less than {least}")));
            }
            ranges.push(range);
        }
        Ok(ranges)
    }

    /// Texts, and whether their case does not count. Where `-m` says nothing they are compared as `usual` says; bytes have
    /// nothing usual. `lower`: what they are compared with was turned into lower case.
    pub(super) fn texts(&self, usual: Option<&str>, lower: bool, fetch: &Word) -> Result<(Vec<Pattern>, bool), Fault> {
        let method = match self.method.map(Word::as_str).or(usual) {
            Some(method) => method,
            None => {
                let message = format!("say how `{}` is compared: `-m str`, `-m beg`, `-m bin`, ..", fetch.text);
                return Err(Fault::new(fetch.at, message));
            }
        };
        if method == "found" {
            return Ok((vec![Pattern::Found], false));
        }
        let patterns = self.words.iter().map(|word| {
            if lower && word.text.contains(|c: char| c.is_ascii_uppercase()) && method != "reg" {
                let message =
                    format!("`{}` never matches: it has a capital letter, and `lower` leaves none", word.text);
                return Err(Fault::new(word.at, message));
            }
            let text = word.text.clone().into_bytes();
            Ok(match method {
                "str" => Pattern::Exact(text),
                "beg" => Pattern::Begin(text),
                "end" => Pattern::End(text),
                "sub" => Pattern::Contains(text),
                "dom" => Pattern::Domain(text),
                "bin" => Pattern::Exact(hex(word)?),
                "len" => {
                    let one = Patterns::of(vec![word.clone()]);
                    match one.numbers(0, number)?.pop() {
                        Some(range) => Pattern::Length(range),
                        None => return Err(Fault::new(word.at, "a length is a number or a range, such as 3:9")),
                    }
                }
                "reg" => {
                    Expressions::check(&word.text).map_err(|error| {
                        let message = format!("`{}` is not a regular expression: {error}", word.text);
                        Fault::new(word.at, message)
                    })?;
                    Pattern::Regex(word.text.clone())
                }
                other => {
                    let at = self.method.map_or(fetch.at, |method| method.at);
                    return Err(Fault::new(at, format!("`-m {other}` cannot be asked here yet")));
                }
            })
        });
        Ok((patterns.collect::<Result<_, _>>()?, self.ignore_case || lower))
    }
}

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `2001:db8::/32`, or an address.
fn network(text: &str) -> Result<Prefix, String> {
    let address = text.split('/').next().unwrap_or_default();
    let numbers = address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numbers && !address.is_empty() && address.split('.').count() < 4 {
        // HAProxy reads it as inet_aton(3) does: 10 is 0.0.0.10, and 127.1 is 127.0.0.1.
        return Err(format!("`{text}` is a part of an address: write four numbers, such as 10.0.0.0/8"));
    }
    let Some((address, mask)) = text.split_once('/') else {
        return text.parse::<Prefix>().map_err(|_| format!("`{text}` is not a network: names are not resolved here"));
    };
    let Ok(mask) = mask.parse::<std::net::Ipv4Addr>() else {
        return text.parse::<Prefix>().map_err(|error| error.to_string());
    };
    let bits = u32::from(mask);
    if bits.leading_ones() + bits.trailing_zeros() < 32 {
        return Err(format!("`{mask}` is no mask: its ones do not stand together"));
    }
    format!("{address}/{}", bits.leading_ones()).parse::<Prefix>().map_err(|error| error.to_string())
}

pub(super) fn number(text: &str) -> Result<i64, String> {
    let plain = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or_else(|| format!("`{text}` is not a whole number"))
}

/// `3.3`: SSL's numbers of TLS versions.
pub(super) fn version(text: &str) -> Result<i64, String> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    match (number(major), number(minor)) {
        (Ok(major @ 0..=255), Ok(minor @ 0..=255)) => Ok(major << 16 | minor),
        _ => Err(format!("`{text}` is not a version, such as 3.3 for TLS 1.2")),
    }
}

fn hex(word: &Word) -> Result<Vec<u8>, Fault> {
    let wrong = || Fault::new(word.at, format!("`{}` is not hexadecimal: pairs of digits were expected", word.text));
    let bytes = HEXLOWER_PERMISSIVE.decode(word.text.as_bytes()).ok();
    bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(wrong)
}
