//! What a test compares with: flags, then patterns, read as the thing that is looked at wants it.

use std::ops::RangeInclusive;

use super::Fault;
use super::expression::never_matches;
use crate::config::import::Word;
use crate::model::Networks;
use crate::model::rule::Pattern;
use crate::rules::{Matchers, lists};

/// The words after a fetch.
pub(super) struct Patterns<'w> {
    /// Those of the line.
    pub(super) words: Vec<Word>,
    /// The files with more of them.
    pub(super) files: Vec<&'w Word>,
    /// They are files of keys and values, of which the keys count (`-M`).
    pub(super) of_maps: bool,
    /// The number by which those of the line can be changed (`-u`).
    pub(super) number: Option<u32>,
    pub(super) ignore_case: bool,
    method: Option<&'w Word>,
}

/// Flags, then patterns.
pub(super) fn read<'w>(fetch: &Word, words: &'w [Word]) -> Result<Patterns<'w>, Fault> {
    let mut patterns = Patterns {
        words: Vec::new(),
        files: Vec::new(),
        of_maps: false,
        number: None,
        ignore_case: false,
        method: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| Fault::new(word.at, format!("`{}` wants a value after it", word.text)));
        match word.as_str() {
            "-i" => patterns.ignore_case = true,
            "-m" => patterns.method = Some(value()?),
            "-f" => patterns.files.push(value()?),
            "-M" => patterns.of_maps = true,
            // Names are never resolved here.
            "-n" => {}
            "-u" => {
                let number = value()?;
                let wrong = || Fault::new(number.at, format!("`{}` is not a number for `-u`", number.text));
                patterns.number = Some(number.text.parse().map_err(|_| wrong())?);
            }
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
    let compares = !patterns.words.is_empty() || !patterns.files.is_empty();
    if compares && patterns.method.is_some_and(|method| method.text == "found") {
        return Err(Fault::new(fetch.at, "`-m found` compares with nothing: leave the patterns out"));
    }
    Ok(patterns)
}

impl<'w> Patterns<'w> {
    fn of_line(word: Word) -> Self {
        Self { words: vec![word], files: Vec::new(), of_maps: false, number: None, ignore_case: false, method: None }
    }

    /// How they are compared; `usual` where nothing says it.
    pub(super) fn method_or(&self, usual: Option<&'w str>, fetch: &Word) -> Result<&'w str, Fault> {
        self.method.map(Word::as_str).or(usual).ok_or_else(|| {
            let message = format!("say how `{}` is compared: `-m str`, `-m beg`, `-m bin`, ..", fetch.text);
            Fault::new(fetch.at, message)
        })
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
            self.words.iter().map(|word| lists::network(&word.text).map_err(|message| Fault::new(word.at, message)));
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
    pub(super) fn texts(
        &self,
        usual: Option<&'w str>,
        lower: bool,
        fetch: &Word,
    ) -> Result<(Vec<Pattern>, bool), Fault> {
        let method = self.method_or(usual, fetch)?;
        if method == "found" {
            return Ok((vec![Pattern::Found], false));
        }
        let patterns = self.words.iter().map(|word| {
            if lower && word.text.contains(|c: char| c.is_ascii_uppercase()) && method != "reg" {
                return Err(Fault::new(word.at, never_matches(&word.text)));
            }
            let text = word.text.clone().into_bytes();
            Ok(match method {
                "str" => Pattern::Exact(text),
                "beg" => Pattern::Begin(text),
                "end" => Pattern::End(text),
                "sub" => Pattern::Contains(text),
                "dom" => Pattern::Domain(text),
                "bin" => Pattern::Exact(lists::hex(&word.text).map_err(|message| Fault::new(word.at, message))?),
                "len" => match Self::of_line(word.clone()).numbers(0, lists::number)?.pop() {
                    Some(range) => Pattern::Length(range),
                    None => return Err(Fault::new(word.at, "a length is a number or a range, such as 3:9")),
                },
                "reg" => {
                    Matchers::check(&word.text).map_err(|error| {
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

/// `3.3`: SSL's numbers of TLS versions.
pub(super) fn version(text: &str) -> Result<i64, String> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    match (lists::number(major), lists::number(minor)) {
        (Ok(major @ 0..=255), Ok(minor @ 0..=255)) => Ok(major << 16 | minor),
        _ => Err(format!("`{text}` is not a version, such as 3.3 for TLS 1.2")),
    }
}
