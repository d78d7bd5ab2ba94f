//! What a stick table knows a connection by.

use super::Matchers;
use super::condition::{Answer, Facts, Nobody, World, holds};
use super::expression::{self, Asked, Open};
use crate::model::value::Value;
use crate::model::{Key, KeyType, StickAction, StickKeys, StickRule};

/// A connection's keys in a table of this type. None: the client has to say more first.
#[must_use]
pub fn keys(
    (kind, rules): (KeyType, &[StickRule]),
    facts: &Facts<'_>,
    matchers: &Matchers,
    world: &dyn World,
) -> Option<StickKeys> {
    let mut keys = StickKeys::default();
    for rule in rules.iter().filter(|rule| !rule.is_of_the_answer()) {
        let key = match key(rule, kind, facts, Asked { matchers, world }) {
            Ok(Some(key)) => key,
            Ok(None) => continue,
            Err(Open) => return None,
        };
        if rule.action != StickAction::Match {
            keys.stores.push(key.clone());
        }
        if rule.action != StickAction::Store {
            keys.matches.push(key);
        }
    }
    Some(keys)
}

/// What a connection is remembered by once its server has said so much. None: it has to say more first.
#[must_use]
pub fn answered((kind, rules): (KeyType, &[StickRule]), facts: &Facts<'_>, matchers: &Matchers) -> Option<Vec<Key>> {
    let asked = Asked { matchers, world: &Nobody };
    let keys = rules.iter().filter(|rule| rule.is_of_the_answer()).map(|rule| key(rule, kind, facts, asked));
    let keys: Result<Vec<_>, Open> = keys.filter_map(Result::transpose).collect();
    keys.ok()
}

/// The key of a rule; none: it is for others, or there is no such key.
fn key(rule: &StickRule, kind: KeyType, facts: &Facts<'_>, asked: Asked<'_>) -> Result<Option<Key>, Open> {
    let known = facts.known(false);
    match rule.when.as_ref().map_or(Answer::Yes, |when| holds(when, known, asked.matchers, asked.world)) {
        Answer::No => return Ok(None),
        Answer::Unknown => return Err(Open),
        Answer::Yes => {}
    }
    Ok(expression::value(&rule.key, known, asked)?.and_then(|value| cast(value, kind)))
}

/// A value as a key of a table of this type.
fn cast(value: Value<'_>, kind: KeyType) -> Option<Key> {
    let key = match kind {
        KeyType::Ipv4 | KeyType::Ipv6 => Key::from(value.address()?),
        // As in HAProxy, of a longer one the last 32 bits.
        KeyType::Integer => Key::Integer(value.number()? as u32),
        KeyType::Text(_) => Key::Bytes(value.as_text().into_owned().into()),
        KeyType::Binary(_) => Key::Bytes(value.as_bytes().into_owned().into()),
    };
    kind.cast(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::expression::{Converter, Expression, Origin};
    use crate::model::rule::{End, Party, Quantity, Text};

    fn rule(action: StickAction, of: Origin) -> StickRule {
        StickRule { action, key: Expression { of, then: Vec::new() }, when: None }
    }

    fn facts(heard: &[u8], ended: bool) -> Facts<'_> {
        Facts::new(([192, 0, 2, 77], 4000).into(), ([203, 0, 113, 1], 443).into(), heard, ended)
    }

    fn bytes(bytes: &[u8]) -> Key {
        Key::Bytes(bytes.into())
    }

    #[test]
    fn rules_say_what_is_looked_for_and_what_is_stored() {
        let source = || Origin::Address(End::Source);
        let mut network = rule(StickAction::Match, source());
        network.key.then.push(Converter::Mask(24, 64));
        let destination = rule(StickAction::Store, Origin::Address(End::Destination));
        let rules = [network, destination, rule(StickAction::On, source())];
        let keys = keys((KeyType::Ipv4, &rules), &facts(b"", true), &Matchers::default(), &Nobody).unwrap();
        let address = |text: &str| Key::Address(text.parse().unwrap());
        assert_eq!(keys.matches, [address("192.0.2.0"), address("192.0.2.77")]);
        assert_eq!(keys.stores, [address("203.0.113.1"), address("192.0.2.77")]);
    }

    #[test]
    fn what_the_client_says_is_waited_for() {
        let keys = |of: &Origin, kind, heard: &'static [u8], ended| {
            let rules = [rule(StickAction::On, of.clone())];
            let keys = super::keys((kind, &rules), &facts(heard, ended), &Matchers::default(), &Nobody);
            keys.map(|keys| keys.stores)
        };
        let payload = Origin::Text(Text::Heard { by: Party::Client, offset: 1, length: Some(2) });
        assert_eq!(keys(&payload, KeyType::Binary(2), b"ab", false), None);
        assert_eq!(keys(&payload, KeyType::Binary(2), b"ab", true), Some(vec![]));
        assert_eq!(keys(&payload, KeyType::Binary(2), b"abcd", false), Some(vec![bytes(b"bc")]));
        let counted = Origin::Text(Text::Counted { by: Party::Client, offset: 1, size: 2 });
        assert_eq!(keys(&counted, KeyType::Text(8), b"x\0\x03ab", false), None);
        assert_eq!(keys(&counted, KeyType::Text(8), b"x\0\x03abcd", false), Some(vec![bytes(b"abc")]));
        let port = Origin::Number(Quantity::Port(End::Destination));
        assert_eq!(keys(&port, KeyType::Integer, b"", true), Some(vec![Key::Integer(443)]));
        let name = Origin::Text(Text::ServerName);
        assert_eq!(keys(&name, KeyType::Text(8), b"", false), None);
        assert_eq!(keys(&name, KeyType::Text(8), b"GET /", false), Some(vec![]));
        let one = Origin::Constant(Value::Number(-1));
        assert_eq!(keys(&one, KeyType::Integer, b"", false), Some(vec![Key::Integer(u32::MAX)]));
    }
    #[test]
    fn what_a_server_says_is_waited_for_and_no_key_before() {
        let greeting =
            rule(StickAction::StoreAnswer, Origin::Text(Text::Heard { by: Party::Server, offset: 2, length: Some(3) }));
        let rules =
            [rule(StickAction::On, Origin::Text(Text::Heard { by: Party::Server, offset: 0, length: None })), greeting];
        let (client, local) = (([192, 0, 2, 77], 4000).into(), ([203, 0, 113, 1], 443).into());
        let of = |said: &'static [u8]| {
            answered((KeyType::Text(9), &rules), &Facts::answered(client, local, said), &Matchers::default())
        };
        assert_eq!((of(b""), of(b"abcd"), of(b"abcdef")), (None, None, Some(vec![bytes(b"cde")])));
        let before = keys((KeyType::Text(9), &rules), &facts(b"hello", false), &Matchers::default(), &Nobody);
        assert_eq!(before, Some(StickKeys::default()));
    }
}
