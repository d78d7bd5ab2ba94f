//! Values that rules work out, and the variables and captures in which they keep them.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What an expression comes to, and a variable can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// An address.
    Address(IpAddr),
    /// A number; what is true or false is 1 or 0.
    Number(i64),
    /// A text, which need not be UTF-8.
    Text(Cow<'a, [u8]>),
    /// What a client sent, which need not be a text: as one, it ends before its first zero.
    Bytes(Cow<'a, [u8]>),
}

/// For how long, and for whom, a variable has its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// For the life of the process, whatever connection set it (`proc`).
    Process,
    /// For the connection (`sess`).
    Session,
    /// For the connection, once its client is listened to (`txn`).
    Transaction,
    /// Until its server is chosen (`req`).
    Request,
}

/// The name of a variable, such as `txn.sni`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Variable {
    /// How long it lives.
    pub scope: Scope,
    /// Its name there.
    pub name: Arc<str>,
}

/// More captures than this no line of a log has.
pub const MOST_CAPTURES: u16 = 1000;

/// Places for captures, of which not every one needs to be filled by a rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptureSlots {
    /// For what clients say.
    pub request: u16,
    /// For what servers say, which nothing fills here.
    pub response: u16,
}

impl Value<'_> {
    /// A text.
    #[must_use]
    pub fn text(bytes: &[u8]) -> Value<'static> {
        Value::Text(bytes.to_vec().into())
    }

    /// As it can be kept.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Address(address) => Value::Address(address),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::Text(text.into_owned().into()),
            Self::Bytes(bytes) => Value::Bytes(bytes.into_owned().into()),
        }
    }

    /// As text.
    #[must_use]
    pub fn as_text(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bytes(bytes) => Cow::Borrowed(bytes.split(|byte| *byte == 0).next().unwrap_or_default()),
            Self::Address(address) => address.to_canonical().to_string().into_bytes().into(),
            Self::Number(number) => number.to_string().into_bytes().into(),
        }
    }

    /// Its bytes: those of a text, or of an address or a number as networks write them.
    #[must_use]
    pub fn as_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(bytes) | Self::Bytes(bytes) => Cow::Borrowed(bytes),
            Self::Address(IpAddr::V4(address)) => address.octets().to_vec().into(),
            Self::Address(IpAddr::V6(address)) => address.octets().to_vec().into(),
            Self::Number(number) => number.to_be_bytes().to_vec().into(),
        }
    }

    /// As a number: that of an address of IPv4, or with which a text begins. As in HAProxy, the text `x` is 0.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Address(IpAddr::V4(address)) => Some(u32::from(*address).into()),
            Self::Address(IpAddr::V6(_)) => None,
            Self::Text(text) | Self::Bytes(text) => leading_number(text),
        }
    }

    /// As an address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address.to_canonical()),
            Self::Number(number) => Some(IpAddr::V4(u32::try_from(*number).ok()?.into())),
            Self::Text(text) | Self::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        }
    }
}

/// None of an empty text. What is too great for a number is the greatest there is.
fn leading_number(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text.split_first()? {
        (b'-', rest) => (-1, rest),
        (b'+', rest) => (1, rest),
        _ => (1, text),
    };
    let digits = digits.iter().map_while(|byte| char::from(*byte).to_digit(10));
    Some(digits.fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(sign * i64::from(digit))))
}

impl Scope {
    /// All, by their names.
    pub const ALL: [(&'static str, Self); 4] =
        [("proc", Self::Process), ("sess", Self::Session), ("txn", Self::Transaction), ("req", Self::Request)];
}

impl Variable {
    /// `txn.sni`; none: it is not a variable's name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (scope, name) = text.split_once('.')?;
        let (_, scope) = Scope::ALL.iter().find(|(known, _)| *known == scope)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        (!name.is_empty() && name.chars().all(allowed)).then(|| Self { scope: *scope, name: name.into() })
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = Scope::ALL.iter().find(|(_, scope)| *scope == self.scope).map_or("", |(name, _)| name);
        write!(f, "{scope}.{}", self.name)
    }
}
