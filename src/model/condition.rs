//! When rules hold: conditions of named and anonymous ACLs, and what can be asked. The terms are HAProxy's.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::expression::{Expression, Is};
use super::figure::Figure;
use super::list::{Kind, Lookup};
use super::networks::Networks;

/// When a rule holds: one of the lines, of which each is a list of terms that all hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// `unless` rather than `if`.
    pub negated: bool,
    /// The lines.
    pub any: Vec<Vec<Term>>,
}

/// A named or anonymous ACL in a condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// `!` stands before it.
    pub negated: bool,
    /// It holds when one of these does. Shared: an ACL may have thousands of networks and be named often.
    pub any: Arc<[Test]>,
}

/// Something that is so or not so, or not yet known.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// `always_true`, `always_false`.
    Always(bool),
    /// Nothing more is awaited (`wait_end`).
    Ended,
    /// The client has sent a whole HTTP/1 request (`req.proto_http`).
    Http,
    /// An address is in a network (`src`, `dst`).
    Address(End, Networks),
    /// A number is in one of the ranges.
    Number(Quantity, Vec<RangeInclusive<i64>>),
    /// A text is as one of the patterns wants it. Case counts unless `ignore_case` is set.
    Text {
        /// What is looked at.
        of: Text,
        /// Upper and lower case are the same.
        ignore_case: bool,
        /// How it may be.
        patterns: Vec<Pattern>,
    },
    /// A value that rules kept or that is made of what is known.
    Value {
        /// What is looked at.
        of: Expression,
        /// How it may be.
        is: Is,
    },
    /// A server is up (`srv_is_up`).
    ServerUp {
        /// Its pool.
        pool: String,
        /// Its name there.
        server: String,
    },
}

/// An end of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The client's.
    Source,
    /// Ours, where the client connected to.
    Destination,
}

/// A number that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quantity {
    /// A port (`src_port`, `dst_port`).
    Port(End),
    /// Bytes that the client has sent so far (`req.len`).
    HeardBytes,
    /// 1 for a TLS client hello (`req.ssl_hello_type`).
    HelloType,
    /// The version in a TLS client hello, as major * 65536 + minor (`req.ssl_ver`).
    HelloVersion,
    /// 1 for a cookie in an RDP client's request, which has one at most (`req.rdp_cookie_cnt`).
    RdpCookies,
    /// One that nobody knows beforehand, below this; none: any of 32 bits (`rand`).
    Random(Option<u32>),
    /// Something about the process.
    Figure(Figure),
    /// A counter of a source.
    Counter {
        /// Whose.
        of: Counted,
        /// The table, where it is not the one in which the source is tracked.
        table: Option<String>,
        /// Which one.
        counter: Counter,
    },
}

/// One of the sources that a connection counts for, 0 to 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(u8);

/// Whose counters are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// The connection's source, tracked or not (`src_conn_rate`).
    Source,
    /// A tracked one (`sc0_conn_rate`).
    Tracked(Slot),
}

/// A counter of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Connections counted (`conn_cnt`).
    ConnectionCount,
    /// Connections open now (`conn_cur`).
    Connections,
    /// Connections within the table's time (`conn_rate`).
    ConnectionRate,
    /// Connections that no rule turned away before anybody listened to them (`sess_cnt`).
    SessionCount,
    /// Those within the table's time (`sess_rate`).
    SessionRate,
    /// What its connections brought so far, in units of 1024 bytes (`kbytes_in`).
    KilobytesIn,
    /// What they got (`kbytes_out`).
    KilobytesOut,
    /// Bytes that they brought within the table's time (`bytes_in_rate`).
    BytesInRate,
    /// Bytes that they got within the table's time (`bytes_out_rate`).
    BytesOutRate,
    /// Counts one connection more, and is how many there then are (`updt_conn_cnt`).
    CountConnection,
    /// A general purpose counter (`get_gpc0`).
    Purpose(Purpose),
    /// How much it went up within the table's time (`gpc0_rate`).
    PurposeRate(Purpose),
    /// Adds one to it, and is what it then is (`inc_gpc0`).
    Increment(Purpose),
    /// Sets it to 0, and is what it was before (`clr_gpc0`).
    Clear(Purpose),
}

/// A counter that means what rules make it mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// `gpc0`.
    Gpc0,
    /// `gpc1`.
    Gpc1,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// The client.
    Client,
    /// Its server, in rules about that.
    Server,
}

/// A text that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Text {
    /// The name in a TLS client hello (`req.ssl_sni`).
    ServerName,
    /// The first protocol that a TLS client hello offers (`req.ssl_alpn`).
    Protocol,
    /// Bytes of what somebody says first (`req.payload`, `res.payload`); no length: all that has come.
    Heard {
        /// Who.
        by: Party,
        /// Bytes before it.
        offset: usize,
        /// So many.
        length: Option<usize>,
    },
    /// What follows its own length in what somebody says first (`req.payload_lv`, `res.payload_lv`).
    Counted {
        /// Who.
        by: Party,
        /// Bytes before the length.
        offset: usize,
        /// Bytes of the length, 1 to 4.
        size: usize,
    },
    /// The user whom the cookie in an RDP client's request names (`req.rdp_cookie(mstshash)`).
    RdpUser,
    /// The method of an HTTP request (`method`).
    Method,
    /// The path of an HTTP request, without its query (`path`).
    Path,
}

/// How a text may be. Bytes, since what clients say is not always text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// It is there at all (`-m found`).
    Found,
    /// It is this.
    Exact(Vec<u8>),
    /// It begins so.
    Begin(Vec<u8>),
    /// It ends so.
    End(Vec<u8>),
    /// It contains this.
    Contains(Vec<u8>),
    /// It contains this between dots, colons, slashes or its ends (`-m dom`).
    Domain(Vec<u8>),
    /// It contains a match of this regular expression.
    Regex(String),
    /// Its length in bytes is in this range.
    Length(RangeInclusive<i64>),
}

impl Slot {
    /// So many there are.
    pub const COUNT: usize = 3;

    /// The one of this number.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl Condition {
    /// Whether what the client says may change the answer.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.tests().any(Test::listens)
    }

    /// Everything it asks.
    pub fn tests(&self) -> impl Iterator<Item = &Test> {
        self.any.iter().flatten().flat_map(|term| term.any.iter())
    }

    /// The expressions that it compares.
    pub fn values(&self) -> impl Iterator<Item = &Expression> {
        self.tests().filter_map(|test| match test {
            Test::Value { of, .. } => Some(of),
            _ => None,
        })
    }

    /// The numbers that it asks for.
    pub fn quantities(&self) -> impl Iterator<Item = &Quantity> {
        self.tests().filter_map(|test| match test {
            Test::Number(quantity, _) => Some(quantity),
            Test::Value { of, .. } => of.quantity(),
            _ => None,
        })
    }

    /// The lists that it asks, and what they have.
    pub fn lookups(&self) -> impl Iterator<Item = (&Lookup, Kind)> {
        self.tests()
            .flat_map(|test| match test {
                Test::Value { of, is } => Some(of.lookups().chain(is.lookup().map(|lookup| (lookup, Kind::Text)))),
                _ => None,
            })
            .flatten()
    }
}

impl Quantity {
    /// What it says about the process.
    #[must_use]
    pub fn figure(&self) -> Option<&Figure> {
        if let Self::Figure(figure) = self { Some(figure) } else { None }
    }

    /// Whether what the client says may change it.
    #[must_use]
    pub fn listens(&self) -> bool {
        matches!(self, Self::HeardBytes | Self::HelloType | Self::HelloVersion | Self::RdpCookies)
    }
}

impl Text {
    /// Whether it is something that the server says.
    #[must_use]
    pub fn is_of_the_answer(self) -> bool {
        matches!(self, Self::Heard { by: Party::Server, .. } | Self::Counted { by: Party::Server, .. })
    }

    /// Whether what the client says may change it.
    #[must_use]
    pub fn listens(self) -> bool {
        !self.is_of_the_answer()
    }

    /// Whether it becomes more as long as somebody goes on.
    #[must_use]
    pub fn grows(self) -> bool {
        matches!(self, Self::Heard { length: None, .. })
    }

    /// Whether it is bytes, which need not be a text.
    #[must_use]
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Heard { .. } | Self::Counted { .. })
    }

    /// Of what the server says, where it is bytes of what the client says.
    #[must_use]
    pub fn answered(self) -> Self {
        match self {
            Self::Heard { offset, length, .. } => Self::Heard { by: Party::Server, offset, length },
            Self::Counted { offset, size, .. } => Self::Counted { by: Party::Server, offset, size },
            other => other,
        }
    }
}

impl Test {
    /// Whether it is about something that the server says.
    #[must_use]
    pub fn is_of_the_answer(&self) -> bool {
        match self {
            Self::Text { of, .. } => of.is_of_the_answer(),
            Self::Value { of, .. } => of.is_of_the_answer(),
            _ => false,
        }
    }

    /// Whether what the client says may change the answer.
    #[must_use]
    pub fn listens(&self) -> bool {
        match self {
            Self::Ended | Self::Http => true,
            Self::Text { of, .. } => of.listens(),
            Self::Number(quantity, _) => quantity.listens(),
            Self::Value { of, .. } => of.listens(),
            Self::Always(_) | Self::Address(..) | Self::ServerUp { .. } => false,
        }
    }
}
