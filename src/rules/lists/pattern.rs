//! One pattern of a list, ready to be compared, and how patterns are written.

use std::ops::RangeInclusive;

use data_encoding::HEXLOWER_PERMISSIVE;
use regex::bytes::Regex;

use super::super::condition;
use crate::model::Prefix;
use crate::model::list::{How, Kind};
use crate::model::rule::Pattern;
use crate::model::value::Value;

/// A pattern of a list. Texts are in small letters where case does not count.
#[derive(Debug, Clone)]
pub(super) enum Compiled {
    Text(Pattern),
    Regex(Regex),
    Network(Prefix),
    Range(RangeInclusive<i64>),
}

impl Compiled {
    /// What is wrong with a pattern.
    pub(super) fn of(how: How, ignore_case: bool, text: &str) -> Result<Self, String> {
        let bytes = || if ignore_case { text.to_ascii_lowercase().into_bytes() } else { text.as_bytes().to_vec() };
        Ok(Self::Text(match how {
            How::Exact => Pattern::Exact(bytes()),
            How::Binary => Pattern::Exact(hex(text)?),
            How::Begin => Pattern::Begin(bytes()),
            How::End => Pattern::End(bytes()),
            How::Contains => Pattern::Contains(bytes()),
            How::Domain => Pattern::Domain(bytes()),
            How::Length => Pattern::Length(range(text)?),
            How::Regex => {
                let wrong = |error| format!("`{text}` is not a regular expression: {error}");
                return condition::compile(text, ignore_case).map(Self::Regex).map_err(wrong);
            }
            How::Number => return range(text).map(Self::Range),
            How::Address => return network(text).map(Self::Network),
        }))
    }
}

/// What is written, as a value of this kind.
pub(in crate::rules) fn value(kind: Kind, text: &str) -> Option<Value<'static>> {
    match kind {
        Kind::Text => Some(Value::text(text.as_bytes())),
        Kind::Number => number(text).ok().map(Value::Number),
        Kind::Address => text.parse().ok().map(Value::Address),
    }
}

/// What is wrong with a pattern or its value, if anything is.
///
/// # Errors
/// What is wrong, in words.
pub fn check(how: How, values: Option<Kind>, (pattern, written): (&str, &str)) -> Result<(), String> {
    Compiled::of(how, false, pattern)?;
    let kind = match values {
        None => return Ok(()),
        Some(kind) => kind,
    };
    value(kind, written).map(drop).ok_or_else(|| {
        let what = if kind == Kind::Number { "a whole number" } else { "an address" };
        format!("the value `{written}` of `{pattern}` is not {what}")
    })
}

/// `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `2001:db8::/32`, or an address.
///
/// # Errors
/// What is wrong, in words.
pub fn network(text: &str) -> Result<Prefix, String> {
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

/// A whole number.
///
/// # Errors
/// What is wrong, in words.
pub fn number(text: &str) -> Result<i64, String> {
    let plain = text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or_else(|| format!("`{text}` is not a whole number"))
}

/// `80`, `80:90`, `80:`, `:90`.
fn range(text: &str) -> Result<RangeInclusive<i64>, String> {
    let Some((first, last)) = text.split_once([':', '-']).filter(|_| !text.starts_with('-')) else {
        return number(text).map(|number| number..=number);
    };
    let first = if first.is_empty() { i64::MIN } else { number(first)? };
    let last = if last.is_empty() { i64::MAX } else { number(last)? };
    if last < first { Err(format!("the range `{text}` ends before it begins")) } else { Ok(first..=last) }
}

/// Pairs of hexadecimal digits.
///
/// # Errors
/// What is wrong, in words.
pub fn hex(text: &str) -> Result<Vec<u8>, String> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().filter(|bytes| !bytes.is_empty());
    bytes.ok_or_else(|| format!("`{text}` is not hexadecimal: pairs of digits were expected"))
}
