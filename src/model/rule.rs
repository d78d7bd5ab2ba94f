//! What is decided about a connection before a server is chosen: who is turned away, where the others go, and which
//! counters of their source go up. The terms are HAProxy's (`tcp-request`, `use_backend`, ACLs).

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::figure::Figure;
use super::networks::Networks;
use super::value::{CaptureSlots, Comparison, Expression, Variable};

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
        is: Comparison,
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

/// Counters of sources by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    /// Unique name; services that name the same one share it.
    pub name: String,
    /// Most sources. The one that was longest without a connection is forgotten for a new one.
    pub size: usize,
    /// A source is forgotten this long after its last connection; none: never.
    pub expire: Option<Duration>,
    /// A full table counts no new source instead of forgetting one (HAProxy's `nopurge`).
    pub nopurge: bool,
    /// IPv6 sources are told apart by so many bits of their address; none are counted when it is 0.
    pub ipv6_bits: u8,
    /// The time over which `conn_rate` counts.
    pub connection_period: Duration,
    /// The time over which `gpc0_rate` counts.
    pub gpc0_period: Duration,
    /// The time over which `gpc1_rate` counts.
    pub gpc1_period: Duration,
}

impl SourceTable {
    /// For 100,000 sources that are forgotten after 30 minutes, with rates a second, IPv6 networks of /64 taken as one.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            size: 100_000,
            expire: Some(Duration::from_secs(1800)),
            nopurge: false,
            ipv6_bits: 64,
            connection_period: Duration::from_secs(1),
            gpc0_period: Duration::from_secs(1),
            gpc1_period: Duration::from_secs(1),
        }
    }
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
        let tests = self.rules.iter().filter_map(|rule| rule.when.as_ref()).flat_map(Condition::tests);
        let up = tests.filter_map(|test| match test {
            Test::ServerUp { pool, .. } => Some(pool.as_str()),
            _ => None,
        });
        sent.chain(up).chain(self.rules.iter().flat_map(Rule::figures).filter_map(Figure::pool))
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
        self.when.as_ref().is_some_and(Condition::listens) || self.action.value().is_some_and(Expression::listens)
    }
}

impl Rule {
    /// The numbers that it asks for.
    pub fn quantities(&self) -> impl Iterator<Item = &Quantity> {
        let asked = self.when.iter().flat_map(Condition::quantities);
        asked.chain(self.action.value().and_then(Expression::quantity))
    }

    /// The tables that it names.
    pub fn tables(&self) -> impl Iterator<Item = &String> {
        let tracked = if let Action::Track { table, .. } = &self.action { Some(table) } else { None };
        let asked = self.quantities().filter_map(|quantity| match quantity {
            Quantity::Counter { table, .. } => table.as_ref(),
            _ => None,
        });
        tracked.into_iter().chain(asked)
    }

    /// Those of them that are about the process.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.quantities().filter_map(Quantity::figure)
    }
}

impl Action {
    /// The value that it keeps.
    #[must_use]
    pub fn value(&self) -> Option<&Expression> {
        match self {
            Self::Set { value, .. } | Self::Capture { value, .. } => Some(value),
            _ => None,
        }
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

    /// The numbers that it asks for.
    pub fn quantities(&self) -> impl Iterator<Item = &Quantity> {
        self.tests().filter_map(|test| match test {
            Test::Number(quantity, _) => Some(quantity),
            Test::Value { of, .. } => of.quantity(),
            _ => None,
        })
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
