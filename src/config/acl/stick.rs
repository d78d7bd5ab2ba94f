//! Stick rules: `on src,ipmask(24)`, `match req.ssl_sni if { .. }`.

use super::test::not_there;
use super::{Fault, Scope, split};
use crate::config::import::Word;
use crate::config::source::Location;
use crate::model::expression::{Expression, Origin};
use crate::model::rule::{Condition, End, Quantity, Test};
use crate::model::{Fetch, Sample, StickAction, StickRule};

/// The actions by their names.
const ACTIONS: [(&str, StickAction); 3] =
    [("on", StickAction::On), ("match", StickAction::Match), ("store-request", StickAction::Store)];

/// A rule with its action. `at` is where it would begin.
pub(in crate::config) fn stick_rule(words: &[Word], at: Location, scope: &Scope<'_>) -> Result<StickRule, Fault> {
    let Some((first, rest)) = words.split_first() else { return Err(Fault::new(at, "an empty rule")) };
    let Some((_, action)) = ACTIONS.iter().find(|(name, _)| *name == first.text) else {
        let message = format!("a stick rule cannot begin with `{}`: on, match and store-request can", first.text);
        return Err(Fault::new(first.at, message));
    };
    stick(*action, rest, first.at, scope)
}

/// What follows an action: `src,ipmask(24) if { .. }`.
pub(in crate::config) fn stick(
    action: StickAction,
    words: &[Word],
    at: Location,
    scope: &Scope<'_>,
) -> Result<StickRule, Fault> {
    let (before, when) = split(words, scope)?;
    let key = match before {
        [word] => sample(&word.text).map_err(|message| Fault::new(word.at, message))?,
        [] => return Err(Fault::new(at, "say what clients are known by, such as `src`")),
        [_, more, ..] => {
            return Err(Fault::new(more.at, format!("`{}` cannot stand here: `if` or `unless` can", more.text)));
        }
    };
    if let Some(asked) = when.iter().flat_map(Condition::tests).find(|test| !is_of_the_connection(test)) {
        let message = format!("a condition of a stick rule can ask for the connection only, not for {asked:?}");
        return Err(Fault::new(at, message));
    }
    Ok(StickRule { action, key, when })
}

fn is_of_the_connection(test: &Test) -> bool {
    match test {
        Test::ServerUp { .. } => false,
        Test::Value { of, .. } => is_of_the_client(of),
        Test::Number(quantity, _) => is_of_a_client(quantity),
        Test::Always(_) | Test::Ended | Test::Http | Test::Address(..) | Test::Text { .. } => true,
    }
}

/// Nothing is noted yet where stick rules are asked.
fn is_of_the_client(value: &Expression) -> bool {
    value.variables().next().is_none()
        && match &value.of {
            Origin::Number(quantity) => is_of_a_client(quantity),
            Origin::Variable(..) | Origin::Capture(_) => false,
            Origin::Address(_) | Origin::Text(_) | Origin::Constant(_) => true,
        }
}

fn is_of_a_client(quantity: &Quantity) -> bool {
    matches!(quantity, Quantity::Port(_)) || quantity.listens()
}

/// `FETCH[,ipmask(BITS[,BITS])][,lower]`
fn sample(text: &str) -> Result<Sample, String> {
    let mut parts = parts(text);
    let first = parts.next().unwrap_or_default();
    let (name, arguments) =
        call(first).or_else(|message| if first.ends_with(')') { Ok((first, Vec::new())) } else { Err(message) })?;
    let fetch = match (name, arguments.as_slice()) {
        ("src", []) => Fetch::Address(End::Source),
        ("dst", []) => Fetch::Address(End::Destination),
        ("src_port", []) => Fetch::Port(End::Source),
        ("dst_port", []) => Fetch::Port(End::Destination),
        ("req.ssl_sni" | "req_ssl_sni", []) => Fetch::ServerName,
        ("req.rdp_cookie(mstshash)" | "rdp_cookie(mstshash)", []) => Fetch::RdpUser,
        ("req.payload" | "payload", &[offset, length]) => Fetch::Payload { offset, length },
        ("req.payload_lv" | "payload_lv", &[offset, size @ 1..=4]) => Fetch::PayloadOfLength { offset, size },
        _ => {
            let why = not_there(name.split('(').next().unwrap_or(name));
            return Err(format!(
                "clients cannot be known by `{text}` ({why}): src, dst, src_port, dst_port, req.ssl_sni, req.payload(0,4), req.payload_lv(0,2) and req.rdp_cookie(mstshash) are there"
            ));
        }
    };
    let mut mask = None;
    for converter in parts {
        let (name, arguments) = call(converter).unwrap_or((converter, Vec::new()));
        let bits = |bits: usize, most: u8| u8::try_from(bits).ok().filter(|bits| *bits <= most);
        mask = match (name, arguments.as_slice(), fetch) {
            ("ipmask", &[v4], Fetch::Address(_)) => bits(v4, 32).map(|v4| (v4, 128)),
            ("ipmask", &[v4, v6], Fetch::Address(_)) => bits(v4, 32).zip(bits(v6, 128)),
            // Names are kept in small letters.
            ("lower", [], Fetch::ServerName) => continue,
            _ => None,
        };
        if mask.is_none() {
            return Err(format!(
                "the converter `{converter}` is not there for `{text}`: ipmask(24) and ipmask(24,64) are, for addresses"
            ));
        }
    }
    Ok(Sample { fetch, mask })
}

/// Parts between commas that are in no parentheses.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth <= 0
    })
}

fn call(text: &str) -> Result<(&str, Vec<usize>), String> {
    let Some((name, arguments)) = text.split_once('(') else { return Ok((text, Vec::new())) };
    let arguments = arguments.strip_suffix(')').ok_or_else(|| format!("`{text}` is not closed with `)`"))?;
    let numbers =
        arguments.split(',').map(|number| number.trim().parse().map_err(|_| format!("`{number}` is no number")));
    numbers.collect::<Result<_, _>>().map(|numbers| (name, numbers))
}

/// A rule as text.
pub(in crate::config) fn show_stick(rule: &StickRule) -> String {
    let action = ACTIONS.iter().find(|(_, action)| *action == rule.action).map_or("", |(name, _)| name);
    let end = |end: End| if end == End::Source { "src" } else { "dst" };
    let fetch = match rule.key.fetch {
        Fetch::Address(of) => end(of).to_owned(),
        Fetch::Port(of) => format!("{}_port", end(of)),
        Fetch::ServerName => "req.ssl_sni".to_owned(),
        Fetch::RdpUser => "req.rdp_cookie(mstshash)".to_owned(),
        Fetch::Payload { offset, length } => format!("\"req.payload({offset},{length})\""),
        Fetch::PayloadOfLength { offset, size } => format!("\"req.payload_lv({offset},{size})\""),
    };
    let mask = rule.key.mask.map_or(String::new(), |(v4, v6)| format!(",ipmask({v4},{v6})"));
    let when = rule.when.as_ref().map_or(String::new(), |when| format!(" {}", super::show::condition(when)));
    format!("{action} {fetch}{mask}{when}")
}
