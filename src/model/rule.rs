//! What is decided about a connection before a server is chosen: who is turned away, where the others go, and which
//! counters of their source go up. The terms are HAProxy's (`tcp-request`, `use_backend`, ACLs).

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::expression::{Expression, Is, Naming};
use super::figure::Figure;
use super::list::{Kind, Lookup};
use super::networks::Networks;
pub use super::source_table::SourceTable;
use super::value::{CaptureSlots, Variable};

/// The rules of a service, or those of a pool, which have no other stages than [`Stage::Content`] and [`Stage::Server`].
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its rules; those of one stage are asked in this order.
    pub rules: Vec<Rule>,
    /// How long a client may take to say what the rules ask for; zero: what has arrived with it decides.
    pub inspect_delay: Duration,
    /// Whether rules of [`Stage::Route`] wait for what the client says, too. HAProxy's `use_backend` never does: what its
    /// `tcp-request content` rules waited for is all there is.
    pub routes_wait: bool,
    /// The tables that its rules name.
    pub tables: Vec<SourceTable>,
    /// New connections a second; beyond it, clients wait in the listen queue (HAProxy's `rate-limit sessions`).
    pub sessions_per_second: Option<u32>,
    /// How many captures its connections have.
    pub captures: CaptureSlots,
}

/// One rule: what happens to a connection that meets its condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// When it is asked.
    pub stage: Stage,
    /// What happens.
    pub action: Action,
    /// To whom; none: to everybody.
    pub when: Option<Condition>,
}

/// When a rule is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// On accept, before anything else: a connection turned away costs a few system calls and has no log line.
    Connection,
    /// Once the client's address is certain, that is after a PROXY header.
    Session,
    /// While the client's first bytes come in.
    Content,
    /// When a pool is chosen.
    Route,
    /// When a server of the pool is chosen: rules of pools.
    Server,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ends the stage: the connection goes on.
    Accept,
    /// Ends the connection.
    Reject(Denial),
    /// Counts the connection as its source's, under this number (HAProxy's `track-sc0`); once a number.
    Track {
        /// 0 to 2.
        slot: Slot,
        /// Name of the table.
        table: String,
        /// The source counts as a network of so many bits of an IPv4 and of an IPv6 address.
        mask: Option<(u8, u8)>,
    },
    /// Adds one to a general purpose counter of a tracked source (`sc-inc-gpc0(0)`).
    Increment {
        /// Which tracked source.
        slot: Slot,
        /// Which counter.
        counter: Purpose,
    },
    /// Keeps a value in a variable; where there is none the variable stays as it is (HAProxy's `set-var`).
    Set {
        /// The variable.
        variable: Variable,
        /// What it is set to.
        value: Expression,
        /// The rule waits for what the client has to say for it. HAProxy's never does.
        waits: bool,
    },
    /// The variable has no value any more (`unset-var`).
    Unset(Variable),
    /// Keeps the beginning of a value for the line of the connection, and waits for it (`capture`).
    Capture {
        /// The place it has there; none: the next one.
        slot: Option<u16>,
        /// So many bytes at most.
        length: u16,
        /// What is kept.
        value: Expression,
    },
    /// The connection goes to the pool of this name.
    Pool(String),
    /// The connection goes to the pool whose name is made from it, if there is one; else to the service's own.
    Named(Naming),
    /// The connection goes nowhere: no pool is meant for it.
    Nowhere,
    /// The connection goes to the server of this name, if that serves (HAProxy's `use-server`).
    Server(String),
    /// Which of its servers can serve the connection (HAProxy's `force-persist`, `ignore-persist`).
    Persistence(Persistence),
}

/// What stickiness means for a connection. The first rule that says so decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// The server that is remembered for it, or that a rule names, is tried although it is down or in maintenance, and no
    /// other one in its place.
    Forced,
    /// No such rule that follows holds for it. HAProxy ignores the server of a cookie then; what stick tables remember counts
    /// there, too.
    Usual,
}

/// What the rules of a pool say about the server of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directions {
    /// It goes to this one.
    pub server: Option<String>,
    /// What stickiness means for it; none: what it always means.
    pub persistence: Option<Persistence>,
}

/// What turned a connection away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// A rule of the administrator's.
    Rule,
    /// One that leaves the client without a word: it is not told that its connection is gone (`silent-drop`).
    Silent,
    /// A source's limit.
    Limit,
}

/// One of the sources that a connection counts for, 0 to 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot(u8);

impl Directions {
    /// Whether its server is tried although it is down.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.persistence == Some(Persistence::Forced)
    }
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

/// A text that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Text {
    /// The name in a TLS client hello (`req.ssl_sni`).
    ServerName,
    /// The first protocol that a TLS client hello offers (`req.ssl_alpn`).
    Protocol,
    /// Bytes of what the client says first (`req.payload`); no length: all that has come.
    Heard {
        /// Bytes before it.
        offset: usize,
        /// So many.
        length: Option<usize>,
    },
    /// What follows its own length in what the client says first (`req.payload_lv`).
    Counted {
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

impl Policy {
    /// Without any rule.
    #[must_use]
    pub fn new() -> Self {
        Self {
            rules: Vec::new(),
            inspect_delay: Duration::from_secs(5),
            routes_wait: true,
            tables: Vec::new(),
            sessions_per_second: None,
            captures: CaptureSlots::default(),
        }
    }

    /// The rules of one stage.
    pub fn of(&self, stage: Stage) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.stage == stage)
    }

    /// Names of the pools that its rules send connections to or look at.
    pub fn pools(&self) -> impl Iterator<Item = &str> {
        let sent = self.rules.iter().filter_map(|rule| match &rule.action {
            Action::Pool(pool) => Some(pool.as_str()),
            _ => None,
        });
        let named = self.namings().flat_map(|naming| naming.known.iter().map(String::as_str));
        let up = self.conditions().flat_map(Condition::tests).filter_map(|test| match test {
            Test::ServerUp { pool, .. } => Some(pool.as_str()),
            _ => None,
        });
        sent.chain(named).chain(up).chain(self.rules.iter().flat_map(Rule::figures).filter_map(Figure::pool))
    }

    /// The names of pools that are made from the connection.
    pub fn namings(&self) -> impl Iterator<Item = &Naming> {
        self.rules.iter().filter_map(|rule| match &rule.action {
            Action::Named(naming) => Some(naming),
            _ => None,
        })
    }

    /// The conditions of its rules.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.rules.iter().filter_map(|rule| rule.when.as_ref())
    }

    /// The lists that its rules ask, and what they have.
    pub fn lookups(&self) -> impl Iterator<Item = (&Lookup, Kind)> {
        self.rules.iter().flat_map(Rule::lookups)
    }

    /// Whether there is no pool for a connection that no rule leads to one.
    #[must_use]
    pub fn leads_nowhere(&self) -> bool {
        self.of(Stage::Route).any(|rule| rule.action == Action::Nowhere && rule.when.is_none())
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Rule {
    /// Whether what the client says may change what it comes to.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.when.as_ref().is_some_and(Condition::listens) || self.action.values().any(Expression::listens)
    }

    /// The numbers that it asks for.
    pub fn quantities(&self) -> impl Iterator<Item = &Quantity> {
        let asked = self.when.iter().flat_map(Condition::quantities);
        asked.chain(self.action.values().filter_map(Expression::quantity))
    }

    /// The tables that it names.
    pub fn tables(&self) -> impl Iterator<Item = &String> {
        let tracked = if let Action::Track { table, .. } = &self.action { Some(table) } else { None };
        tracked.into_iter().chain(self.counted().map(|(table, _)| table))
    }

    /// The tables that it asks, and what for; none: whether they know somebody.
    pub fn counted(&self) -> impl Iterator<Item = (&String, Option<Counter>)> {
        let by_name = self.quantities().filter_map(|quantity| match quantity {
            Quantity::Counter { table, counter, .. } => Some((table.as_ref()?, Some(*counter))),
            _ => None,
        });
        let compared = self.when.iter().flat_map(Condition::values);
        by_name.chain(compared.chain(self.action.values()).flat_map(Expression::counted))
    }

    /// The numbers about the process that it asks for.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.quantities().filter_map(Quantity::figure)
    }

    /// The lists that it asks, and what they have.
    pub fn lookups(&self) -> impl Iterator<Item = (&Lookup, Kind)> {
        let of_values = self.action.values().flat_map(Expression::lookups);
        self.when.iter().flat_map(Condition::lookups).chain(of_values)
    }
}

impl Action {
    /// The values that it works out.
    pub fn values(&self) -> impl Iterator<Item = &Expression> {
        let (kept, named) = match self {
            Self::Set { value, .. } | Self::Capture { value, .. } => (Some(value), None),
            Self::Named(naming) => (None, Some(naming)),
            _ => (None, None),
        };
        kept.into_iter().chain(named.into_iter().flat_map(Naming::values))
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

impl Test {
    /// Whether what the client says may change the answer.
    #[must_use]
    pub fn listens(&self) -> bool {
        match self {
            Self::Ended | Self::Http | Self::Text { .. } => true,
            Self::Number(quantity, _) => quantity.listens(),
            Self::Value { of, .. } => of.listens(),
            Self::Always(_) | Self::Address(..) | Self::ServerUp { .. } => false,
        }
    }
}
