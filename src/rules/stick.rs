//! What a stick table knows a connection by.

use super::Matchers;
use super::condition::{Answer, Facts, World, holds};
use crate::model::figure::Figure;
use crate::model::rule::{Counted, Counter, End};
use crate::model::{Fetch, Key, KeyType, Sample, StickAction, StickKeys, StickRule};
use crate::wire::rdp;

/// A connection's keys in a table of this type. None: the client has to say more first.
#[must_use]
pub fn keys(rules: &[StickRule], kind: KeyType, facts: &Facts<'_>, matchers: &Matchers) -> Option<StickKeys> {
    let mut keys = StickKeys::default();
    for rule in rules {
        let answer = rule.when.as_ref().map_or(Answer::Yes, |when| holds(when, facts.known(false), matchers, &Alone));
        match answer {
            Answer::No => continue,
            Answer::Unknown => return None,
            Answer::Yes => {}
        }
        let key = match sample(&rule.key, facts) {
            Ok(key) => key.and_then(|key| kind.cast(key)),
            Err(Open) => return None,
        };
        let Some(key) = key else { continue };
        if rule.action != StickAction::Match {
            keys.stores.push(key.clone());
        }
        if rule.action != StickAction::Store {
            keys.matches.push(key);
        }
    }
    Some(keys)
}

/// It is not known yet.
struct Open;

fn sample(sample: &Sample, facts: &Facts<'_>) -> Result<Option<Key>, Open> {
    let end = |end: End| if end == End::Source { facts.client } else { facts.local };
    let bytes = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => Ok(Some(Key::Bytes(bytes.into()))),
        None if facts.is_over() => Ok(None),
        None => Err(Open),
    };
    let heard = facts.heard();
    match sample.fetch {
        Fetch::Address(of) => {
            let address = end(of).ip();
            Ok(Some(Key::from(sample.mask.map_or(address, |(v4, v6)| Key::network(address, v4, v6)))))
        }
        Fetch::Port(of) => Ok(Some(Key::Integer(end(of).port().into()))),
        Fetch::ServerName if facts.is_open() => bytes(None),
        Fetch::ServerName => {
            let name = facts.server_name().map(str::to_ascii_lowercase);
            Ok(name.map(|name| Key::Bytes(name.into_bytes().into())))
        }
        Fetch::RdpUser => match facts.rdp_request() {
            rdp::Heard::Part => bytes(None),
            said => Ok(said.user().map(|user| Key::Bytes(user.into()))),
        },
        Fetch::Payload { offset, length: 0 } => bytes(heard.get(offset..).filter(|bytes| !bytes.is_empty())),
        Fetch::Payload { offset, length } => bytes(heard.get(offset..offset.saturating_add(length))),
        Fetch::PayloadOfLength { offset, size } => bytes(facts.counted(offset, size)),
    }
}

/// Conditions of stick rules ask for nothing but the connection itself.
pub(super) struct Alone;

impl World for Alone {
    fn figure(&self, _: &Figure) -> i64 {
        0
    }

    fn is_up(&self, _: &str, _: &str) -> bool {
        false
    }

    fn counter(&self, _: Counted, _: Option<&str>, _: Counter) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: StickAction, fetch: Fetch) -> StickRule {
        StickRule { action, key: Sample { fetch, mask: None }, when: None }
    }

    fn facts(heard: &[u8], ended: bool) -> Facts<'_> {
        Facts::new(([192, 0, 2, 77], 4000).into(), ([203, 0, 113, 1], 443).into(), heard, ended)
    }

    fn bytes(bytes: &[u8]) -> Key {
        Key::Bytes(bytes.into())
    }

    #[test]
    fn rules_say_what_is_looked_for_and_what_is_stored() {
        let source = Fetch::Address(End::Source);
        let network =
            StickRule { key: Sample { fetch: source, mask: Some((24, 64)) }, ..rule(StickAction::Match, source) };
        let rules =
            [network, rule(StickAction::Store, Fetch::Address(End::Destination)), rule(StickAction::On, source)];
        let keys = keys(&rules, KeyType::Ipv4, &facts(b"", true), &Matchers::default()).unwrap();
        let address = |text: &str| Key::Address(text.parse().unwrap());
        assert_eq!(keys.matches, [address("192.0.2.0"), address("192.0.2.77")]);
        assert_eq!(keys.stores, [address("203.0.113.1"), address("192.0.2.77")]);
    }

    #[test]
    fn what_the_client_says_is_waited_for() {
        let keys = |fetch, kind, heard: &'static [u8], ended| {
            let keys = super::keys(&[rule(StickAction::On, fetch)], kind, &facts(heard, ended), &Matchers::default());
            keys.map(|keys| keys.stores)
        };
        let payload = Fetch::Payload { offset: 1, length: 2 };
        assert_eq!(keys(payload, KeyType::Binary(2), b"ab", false), None);
        assert_eq!(keys(payload, KeyType::Binary(2), b"ab", true), Some(vec![]));
        assert_eq!(keys(payload, KeyType::Binary(2), b"abcd", false), Some(vec![bytes(b"bc")]));
        let counted = Fetch::PayloadOfLength { offset: 1, size: 2 };
        assert_eq!(keys(counted, KeyType::Text(8), b"x\0\x03ab", false), None);
        assert_eq!(keys(counted, KeyType::Text(8), b"x\0\x03abcd", false), Some(vec![bytes(b"abc")]));
        assert_eq!(keys(Fetch::Port(End::Destination), KeyType::Integer, b"", true), Some(vec![Key::Integer(443)]));
        assert_eq!(keys(Fetch::ServerName, KeyType::Text(8), b"", false), None);
        assert_eq!(keys(Fetch::ServerName, KeyType::Text(8), b"GET /", false), Some(vec![]));
    }
}
