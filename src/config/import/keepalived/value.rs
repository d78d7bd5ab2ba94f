//! Numbers, switches and times of a keepalived.conf. What is out of range is told, and keepalived's default is used,
//! as keepalived does.

use std::time::Duration;

use super::Translator;
use super::grammar::Node;
use crate::config::import::Word;
use crate::config::raw::Located;

impl Translator<'_> {
    /// The first argument; its absence is an error, as in keepalived.
    pub(super) fn argument<'n>(&mut self, node: &'n Node) -> Option<&'n Word> {
        let argument = node.arguments().first();
        if argument.is_none() {
            self.findings.error(node.at(), format!("`{}` wants a value after it", node.keyword().text));
        }
        argument
    }

    /// The lines of a block. What stands on the line of its keyword has no effect, as in keepalived.
    pub(super) fn lines<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        if node.block.is_none() {
            let message = format!("`{}` wants its lines in braces: ignored", node.keyword().text);
            self.findings.warning(node.at(), message);
        } else if let Some(surplus) = node.arguments().first() {
            let message = format!("`{}` stands before the brace: ignored, as in keepalived", surplus.text);
            self.findings.warning(surplus.at, message);
        }
        node.children()
    }

    /// A whole number in `range`; otherwise a warning that names `fallback`.
    pub(super) fn number(
        &mut self,
        node: &Node,
        range: std::ops::RangeInclusive<u64>,
        fallback: &str,
    ) -> Option<Located<u64>> {
        let word = self.argument(node)?;
        match integer(word.as_str()).filter(|number| range.contains(number)) {
            Some(number) => Some(Located::new(number, word.at)),
            None => {
                let (first, last) = range.into_inner();
                self.findings.warning(
                    word.at,
                    format!(
                        "`{}` is not a whole number from {first} to {last}: {fallback}, as in keepalived",
                        word.text
                    ),
                );
                None
            }
        }
    }

    /// How often something is sent: 1 to 1000; 0 stands for 1, as in keepalived.
    pub(super) fn times(&mut self, node: &Node) -> Option<Located<u64>> {
        let zero = |word: &&Word| integer(word.as_str()) == Some(0);
        if let Some(word) = node.arguments().first().filter(zero) {
            self.findings.warning(word.at, "this cannot be 0: 1 is used, as in keepalived");
            return Some(Located::new(1, word.at));
        }
        self.number(node, 1..=1000, "the default is used")
    }

    /// Seconds up to a day; 0 stands for one second, as in keepalived.
    pub(super) fn some_seconds(&mut self, node: &Node, fallback: &str) -> Option<Located<Duration>> {
        let zero = |word: &&Word| decimal(word.as_str()) == Some(0.0);
        if let Some(word) = node.arguments().first().filter(zero) {
            self.findings.warning(word.at, "this cannot be 0: 1 second is used, as in keepalived");
            return Some(Located::new(Duration::from_secs(1), word.at));
        }
        self.seconds(node, 0.001..=86_400.0, fallback)
    }

    /// Seconds, possibly with a fraction, in `range`; otherwise a warning that names `fallback`.
    pub(super) fn seconds(
        &mut self,
        node: &Node,
        range: std::ops::RangeInclusive<f64>,
        fallback: &str,
    ) -> Option<Located<Duration>> {
        let word = self.argument(node)?;
        match decimal(word.as_str()).filter(|seconds| range.contains(seconds)) {
            Some(seconds) => Some(Located::new(rounded(seconds), word.at)),
            None => {
                let (first, last) = range.into_inner();
                self.findings.warning(
                    word.at,
                    format!(
                        "`{}` is not a time from {first} to {last} seconds: {fallback}, as in keepalived",
                        word.text
                    ),
                );
                None
            }
        }
    }

    /// A switch: without argument it is on.
    pub(super) fn switch(&mut self, node: &Node) -> bool {
        match node.arguments().first() {
            None => true,
            Some(word) => match word.as_str() {
                "on" | "true" | "yes" => true,
                "off" | "false" | "no" => false,
                other => {
                    self.findings
                        .warning(word.at, format!("`{other}` is none of on, off, true, false, yes, no: taken as on"));
                    true
                }
            },
        }
    }
}

/// Decimal, or hexadecimal with `0x`, perhaps after a plus sign, as keepalived reads numbers.
fn integer(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'));
    }
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// Digits with at most one dot; no sign, no exponent, no infinity.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|_| plain && text.len() <= 32)
}

/// To microseconds, keepalived's resolution.
fn rounded(seconds: f64) -> Duration {
    Duration::from_micros((seconds * 1e6).round() as u64)
}
