//! What rules work out about a connection (HAProxy's sample expressions), and what that has to be or becomes part of.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::list::{Kind, Lookup};
use super::networks::Networks;
use super::rule::{Counter, End, Pattern, Quantity, Text};
use super::value::{Value, Variable};

/// A text that is put together has this many bytes at most, one less than HAProxy's `tune.bufsize`: one that a variable of
/// the process holds could grow with every connection.
pub const LONGEST_TEXT: usize = 16_383;

/// Something that is looked at, and what is made of it, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    /// What is looked at.
    pub of: Origin,
    /// What is made of it.
    pub then: Vec<Converter>,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The address of an end of the client's connection (`src`, `dst`).
    Address(End),
    /// A number.
    Number(Quantity),
    /// A text.
    Text(Text),
    /// A variable, and what counts where it holds nothing (`var`).
    Variable(Variable, Option<Arc<str>>),
    /// A capture (`capture.req.hdr`).
    Capture(u16),
    /// What stands there (`str`, `int`).
    Constant(Value<'static>),
}

/// What makes a value of another one. Where a text is wanted, addresses and numbers are written; where it cannot be done there
/// is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Converter {
    /// In small letters (`lower`).
    Lower,
    /// In capital letters (`upper`).
    Upper,
    /// The length of the text, in bytes (`length`).
    Length,
    /// The network of an address: so many bits of an IPv4 one, so many of an IPv6 one (`ipmask`).
    Mask(u8, u8),
    /// A part of a text, by its place (`bytes`).
    Bytes {
        /// Bytes before it.
        offset: usize,
        /// So many; none: all from there on.
        length: Option<usize>,
    },
    /// A part of a text, by what separates it (`field`, `word`).
    Part(Part),
    /// With texts around it, and a variable before the second one (`concat`); of more than [`LONGEST_TEXT`] bytes the first.
    Concat {
        /// Before the variable.
        before: Arc<str>,
        /// What stands between.
        variable: Option<Variable>,
        /// After it.
        after: Arc<str>,
    },
    /// What a list has for it.
    Map(Map),
    /// A number made of it and of another one (`add`, `mod`).
    Compute(Operation, Operand),
    /// A number made of it alone (`bool`, `neg`).
    Alter(Alteration),
    /// A hash of its bytes (`crc32`).
    Digest(Digest),
    /// Its bytes, written as text (`hex`).
    Encode(Encoding),
    /// What a table counts for it as a source, 0 where it does not know it (`table_conn_rate`).
    Counted {
        /// The table.
        table: String,
        /// Which counter; none: whether it knows it (`in_table`).
        counter: Option<Counter>,
    },
}

/// Two numbers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The sum. What is too great or too small becomes the greatest or smallest there is, also of the following.
    Add,
    /// The difference.
    Subtract,
    /// The product.
    Multiply,
    /// The quotient; by 0 the greatest number there is.
    Divide,
    /// The remainder; by 0 it is 0.
    Remainder,
    /// The bits of both.
    And,
    /// The bits of either.
    Or,
    /// The bits of just one.
    Xor,
}

/// The second number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// It stands there.
    Number(i64),
    /// What a variable holds; where it holds no number, nothing comes of it.
    Variable(Variable),
}

/// One number becomes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alteration {
    /// 1, or 0 for 0 (`bool`).
    Bool,
    /// 0, or 1 for 0 (`not`).
    Not,
    /// With the other sign (`neg`).
    Negative,
    /// With all bits turned over (`cpl`).
    Complement,
    /// 1 for even ones (`even`).
    Even,
    /// 1 for odd ones (`odd`).
    Odd,
}

/// A hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// That of Ethernet and gzip.
    Crc32,
    /// Dan Bernstein's.
    Djb2,
    /// That of the sdbm library.
    Sdbm,
}

/// Bytes as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Two hexadecimal digits a byte, in capital letters (`hex`).
    Hex,
    /// RFC 4648 (`base64`).
    Base64,
}

/// A part of a text (`field`, `word`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Separators side by side count as one, and none counts at the beginning (`word`).
    pub words: bool,
    /// Counted from 1, or from -1 at the end.
    pub index: i32,
    /// Each of these ends a part.
    pub separators: String,
    /// So many parts, with what stands between them; 0: all that are left.
    pub count: usize,
}

/// What a list of keys has for something (`map_reg(/etc/haproxy/names.map,other)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Where it is looked up.
    pub lookup: Lookup,
    /// What the values are.
    pub values: Kind,
    /// What there is for everything that the list does not have.
    pub default: Option<String>,
}

/// What something has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Is {
    /// It is there at all (`-m found`).
    Found,
    /// A list has it.
    Listed(Lookup),
    /// It is in one of these networks.
    In(Networks),
    /// It is in one of these ranges.
    Within(Vec<RangeInclusive<i64>>),
    /// It is as one of the patterns wants it.
    Like {
        /// Upper and lower case are the same.
        ignore_case: bool,
        /// How it may be.
        patterns: Vec<Pattern>,
    },
}

/// The name of a pool that is made from the connection (`use-pool %[req.ssl_sni,lower,map(/etc/haproxy/names.map)]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naming {
    /// Its pieces.
    pub pieces: Vec<NamePiece>,
    /// The pools that its lists name, as they were read. Others can be named once the process runs.
    pub known: Vec<String>,
}

/// A piece of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePiece {
    /// As it stands.
    Text(String),
    /// What comes of this.
    Value(Expression),
}

/// The line of a connection in HAProxy's `log-format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// As it was written.
    pub format: String,
    /// The expressions in it that only rules or the connection can tell, by their text.
    pub samples: Arc<[(String, Expression)]>,
}

impl Expression {
    /// Whether what the client says may change it.
    #[must_use]
    pub fn listens(&self) -> bool {
        match &self.of {
            Origin::Number(quantity) => quantity.listens(),
            Origin::Text(text) => text.listens(),
            Origin::Address(_) | Origin::Variable(..) | Origin::Capture(_) | Origin::Constant(_) => false,
        }
    }

    /// Whether it is made of something that the server says.
    #[must_use]
    pub fn is_of_the_answer(&self) -> bool {
        matches!(&self.of, Origin::Text(text) if text.is_of_the_answer())
    }

    /// Of what the server says, where it is of bytes that the client says.
    #[must_use]
    pub fn answered(mut self) -> Self {
        if let Origin::Text(text) = &mut self.of {
            *text = text.answered();
        }
        self
    }

    /// The number that it begins with.
    #[must_use]
    pub fn quantity(&self) -> Option<&Quantity> {
        if let Origin::Number(quantity) = &self.of { Some(quantity) } else { None }
    }

    /// The variables it reads.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let first = if let Origin::Variable(variable, _) = &self.of { Some(variable) } else { None };
        let further = self.then.iter().filter_map(|converter| match converter {
            Converter::Concat { variable, .. } => variable.as_ref(),
            Converter::Compute(_, Operand::Variable(variable)) => Some(variable),
            _ => None,
        });
        first.into_iter().chain(further)
    }

    /// The tables that it asks for what is before it, and what for.
    pub fn counted(&self) -> impl Iterator<Item = (&String, Option<Counter>)> {
        self.then.iter().filter_map(|converter| match converter {
            Converter::Counted { table, counter } => Some((table, *counter)),
            _ => None,
        })
    }

    /// The lists that it asks, and what they have.
    pub fn lookups(&self) -> impl Iterator<Item = (&Lookup, Kind)> {
        self.then.iter().filter_map(|converter| match converter {
            Converter::Map(map) => Some((&map.lookup, map.values)),
            _ => None,
        })
    }

    /// Whether it is true or false: 1 or 0.
    #[must_use]
    pub fn is_truth(&self) -> bool {
        use Alteration::{Bool, Even, Not, Odd};
        matches!(
            self.then.last(),
            Some(Converter::Alter(Bool | Not | Even | Odd) | Converter::Counted { counter: None, .. })
        )
    }

    /// What comes of it; none: whatever a variable holds.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Some(match self.then.last() {
            Some(Converter::Lower | Converter::Upper | Converter::Part(_) | Converter::Concat { .. }) => Kind::Text,
            Some(Converter::Bytes { .. } | Converter::Encode(_)) => Kind::Text,
            Some(Converter::Length | Converter::Compute(..) | Converter::Alter(_)) => Kind::Number,
            Some(Converter::Digest(_) | Converter::Counted { .. }) => Kind::Number,
            Some(Converter::Mask(..)) => Kind::Address,
            Some(Converter::Map(map)) => map.values,
            None => match &self.of {
                Origin::Address(_) | Origin::Constant(Value::Address(_)) => Kind::Address,
                Origin::Number(_) | Origin::Constant(Value::Number(_)) => Kind::Number,
                Origin::Text(_) | Origin::Capture(_) | Origin::Constant(Value::Text(_) | Value::Bytes(_)) => Kind::Text,
                Origin::Variable(..) => return None,
            },
        })
    }
}

impl Is {
    /// The list that it asks.
    #[must_use]
    pub fn lookup(&self) -> Option<&Lookup> {
        match self {
            Self::Listed(lookup) => Some(lookup),
            Self::Found | Self::In(_) | Self::Within(_) | Self::Like { .. } => None,
        }
    }
}

impl Naming {
    /// The values in it.
    pub fn values(&self) -> impl Iterator<Item = &Expression> {
        self.pieces.iter().filter_map(|piece| match piece {
            NamePiece::Text(_) => None,
            NamePiece::Value(value) => Some(value),
        })
    }

    /// Whether it can be this name.
    #[must_use]
    pub fn can_be(&self, name: &str) -> bool {
        let text = |piece: Option<&NamePiece>| match piece {
            Some(NamePiece::Text(text)) => text.clone(),
            Some(NamePiece::Value(_)) | None => String::new(),
        };
        let (before, after) = (text(self.pieces.first()), text(self.pieces.get(1..).and_then(<[_]>::last)));
        name.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after)).is_some_and(|middle| !middle.is_empty())
    }

    /// The names that its list, as it was read, makes of it.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        let Some(map) = self.map() else { return Vec::new() };
        let listed = map.lookup.list.entries.iter().map(|(_, value)| value).chain(&map.default);
        let name = |said: &String| {
            let piece = |piece: &NamePiece| match piece {
                NamePiece::Text(text) => text.clone(),
                NamePiece::Value(_) => said.clone(),
            };
            self.pieces.iter().map(piece).collect()
        };
        listed.map(name).collect()
    }

    /// Whether a list says it.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.map().is_some()
    }

    /// The list that says the one value in it.
    fn map(&self) -> Option<&Map> {
        let mut values = self.values();
        match (values.next()?.then.last(), values.next()) {
            (Some(Converter::Map(map)), None) => Some(map),
            _ => None,
        }
    }
}
