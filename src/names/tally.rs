//! What name servers were asked and what they said, counted where it passes: at the sockets. A name server is known by the
//! section that asks it and its address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_resolver::system_conf::read_system_conf;

use crate::model::{NameServer, Resolver};

/// What is counted of one name server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions.
    pub sent: u64,
    /// Questions that could not be sent, and connections that could not be made.
    pub send_errors: u64,
    /// Answers with something in them.
    pub valid: u64,
    /// Answers that gave a server another place.
    pub updates: u64,
    /// Answers with nothing in them.
    pub empty: u64,
    /// Answers that there is no such name.
    pub no_such_name: u64,
    /// Questions that were not answered in time.
    pub timeouts: u64,
    /// Answers that the name server does not answer us.
    pub refused: u64,
    /// Answers that it failed otherwise.
    pub other: u64,
    /// What is no answer.
    pub invalid: u64,
    /// Answers that were too long, and asked for again over TCP.
    pub truncated: u64,
    /// Answers to something else than was asked.
    pub outdated: u64,
}

/// A section and its name servers, as they are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The resolver's name.
    pub name: String,
    /// Its name servers' names, and what is counted of each.
    pub servers: Vec<(String, Counts)>,
}

/// The section of servers that name none: the system's name servers. HAProxy calls it so.
pub(super) const IMPLICIT: &str = "default";

/// The counters of all sections.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<HashMap<(String, SocketAddr), Counts>>>);

impl Tally {
    fn all(&self) -> MutexGuard<'_, HashMap<(String, SocketAddr), Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, section: &str, server: SocketAddr, add: impl FnOnce(&mut Counts)) {
        add(self.all().entry((section.to_owned(), server)).or_default());
    }

    /// Forgets the sections that are no longer there.
    pub(super) fn retain(&self, resolvers: &[Resolver]) {
        let known = |name: &str| name == IMPLICIT || resolvers.iter().any(|resolver| resolver.name == name);
        self.all().retain(|(section, _), _| known(section));
    }

    /// Begins at 0.
    pub fn clear(&self) {
        self.all().clear();
    }

    /// The sections, in order, and at last that of the servers that name none. Reads /etc/resolv.conf.
    #[must_use]
    pub fn sections(&self, resolvers: &[Resolver]) -> Vec<Section> {
        let implicit = Resolver::new(IMPLICIT);
        let configured = resolvers.iter().any(|resolver| resolver.name == IMPLICIT);
        let counts = self.all().clone();
        let section = |resolver: &Resolver| {
            let servers = resolver.servers.iter().cloned().chain(system(resolver));
            let counted = servers.map(|server| {
                let counts = counts.get(&(resolver.name.clone(), server.address)).copied().unwrap_or_default();
                (server.name, counts)
            });
            Section { name: resolver.name.clone(), servers: counted.collect() }
        };
        resolvers.iter().chain((!configured).then_some(&implicit)).map(section).collect()
    }
}

/// The name servers of the system, where a resolver asks them.
fn system(resolver: &Resolver) -> Vec<NameServer> {
    let found = resolver.system.then(read_system_conf).and_then(Result::ok);
    let servers = found.iter().flat_map(|(config, _)| config.name_servers());
    let port = |server: &hickory_resolver::config::NameServerConfig| {
        server.connections.first().map_or(53, |connection| connection.port)
    };
    servers.map(|server| SocketAddr::new(server.ip, port(server)).into()).collect()
}

/// Where an answer belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Valid,
    Empty,
    NoSuchName,
    Refused,
    Other,
    Invalid,
    Truncated,
    Outdated,
}

/// The length of what every message begins with (RFC 1035, 4.1.1).
pub(super) const HEADER: usize = 12;

impl Meaning {
    /// What a message says to the question of this number. The rest of it is read elsewhere.
    pub(super) fn of(message: &[u8], asked: u16) -> Self {
        let Some(&[a, b, flags, code, _, _, answers_high, answers_low, ..]) = message.first_chunk::<HEADER>() else {
            return Self::Invalid;
        };
        match (u16::from_be_bytes([a, b]) == asked, flags & 0x80 != 0, flags & 0x02 != 0, code & 0x0f) {
            (_, false, _, _) => Self::Invalid,
            (false, ..) => Self::Outdated,
            (_, _, true, _) => Self::Truncated,
            (.., 0) if (answers_high, answers_low) == (0, 0) => Self::Empty,
            (.., 0) => Self::Valid,
            (.., 3) => Self::NoSuchName,
            (.., 5) => Self::Refused,
            _ => Self::Other,
        }
    }

    pub(super) fn count(self, counts: &mut Counts) {
        *match self {
            Self::Valid => &mut counts.valid,
            Self::Empty => &mut counts.empty,
            Self::NoSuchName => &mut counts.no_such_name,
            Self::Refused => &mut counts.refused,
            Self::Other => &mut counts.other,
            Self::Invalid => &mut counts.invalid,
            Self::Truncated => &mut counts.truncated,
            Self::Outdated => &mut counts.outdated,
        } += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_their_beginning() {
        for (flags, code, answers, expected) in [
            (0x81, 0x80, 1, Meaning::Valid),
            (0x81, 0x80, 0, Meaning::Empty),
            (0x81, 0x83, 0, Meaning::NoSuchName),
            (0x81, 0x85, 0, Meaning::Refused),
            (0x81, 0x82, 0, Meaning::Other),
            (0x83, 0x80, 0, Meaning::Truncated),
            (0x01, 0x00, 0, Meaning::Invalid),
        ] {
            let message = [0, 7, flags, code, 0, 1, 0, answers, 0, 0, 0, 0];
            assert_eq!(Meaning::of(&message, 7), expected, "{flags:02x} {code:02x}");
        }
        assert_eq!(Meaning::of(&[0, 8, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], 7), Meaning::Outdated);
        assert_eq!(Meaning::of(b"abc", 7), Meaning::Invalid);
    }

    #[test]
    fn sections_are_in_order_and_the_implicit_one_is_the_last() {
        let tally = Tally::default();
        let address: SocketAddr = "192.0.2.53:53".parse().unwrap();
        let named = NameServer { name: "d1".to_owned(), address };
        let office = Resolver { servers: vec![named], system: false, ..Resolver::new("office") };
        tally.count("office", address, |counts| counts.sent += 2);
        tally.count("gone", address, |counts| counts.sent += 1);
        let sections = tally.sections(std::slice::from_ref(&office));
        let sent = Counts { sent: 2, ..Counts::default() };
        assert_eq!(sections[0], Section { name: "office".to_owned(), servers: vec![("d1".to_owned(), sent)] });
        assert_eq!(sections[1].name, "default");
        let own = Resolver { name: "default".to_owned(), ..office.clone() };
        assert_eq!(tally.sections(&[own]).len(), 1, "one that is configured takes its place");
        tally.retain(std::slice::from_ref(&office));
        assert_eq!(tally.all().len(), 1);
        tally.clear();
        assert_eq!(tally.sections(&[office])[0].servers[0].1, Counts::default());
    }
}
