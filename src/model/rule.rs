//! What is decided about a connection before a server is chosen: who is turned away, where the others go, and which
//! counters of their source go up. The terms are HAProxy's (`tcp-request`, `use_backend`).

use std::time::Duration;

pub use super::condition::{
    Condition, Counted, Counter, End, Party, Pattern, Purpose, Quantity, Slot, Term, Test, Text,
};
use super::expression::{Expression, Naming};
use super::figure::Figure;
use super::list::{Kind, Lookup};
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
    /// Keeps a text in a variable; a value in it that is not there is nothing (HAProxy's `set-var-fmt`).
    Compose {
        /// The variable.
        variable: Variable,
        /// What it is made of.
        text: Naming,
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

impl Directions {
    /// Whether its server is tried although it is down.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.persistence == Some(Persistence::Forced)
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
            Self::Named(text) | Self::Compose { text, .. } => (None, Some(text)),
            _ => (None, None),
        };
        kept.into_iter().chain(named.into_iter().flat_map(Naming::values))
    }
}
