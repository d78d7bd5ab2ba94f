//! What a mail says: keepalived's subject and sentence, and beneath it what keepalived does not say. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::news::{Change, State, Transition, Watched, What, printable, rfc3339};
use super::gather::{Item, Letter};

/// A transition, as keepalived mails it.
pub(crate) fn transition(told: &Transition) -> Item {
    let state = told.state.word();
    let (what, sentence) = match (told.what, told.state) {
        (What::Instance, State::Master) => ("Instance", "VRRP Instance is now owning VRRP VIPs".to_owned()),
        (What::Instance, State::Backup | State::Fault | State::Stop) => {
            ("Instance", "VRRP Instance is no longer owning VRRP VIPs".to_owned())
        }
        (What::Group, _) => ("Group", format!("All VRRP group instances are now in {state} state")),
    };
    Item {
        headline: format!("VRRP {what} {} - Entering {state} state", printable(&told.name)),
        sentence,
        reason: printable(&told.reason),
        at: told.at,
    }
}

/// A server or tracker that changed.
pub(crate) fn change(change: &Change) -> Item {
    let what = match change.of {
        Watched::Server => "Server",
        Watched::Tracker => "Tracker",
    };
    let (word, sentence) = if change.up { ("UP", "It passes its check") } else { ("DOWN", "It fails its check") };
    Item {
        headline: format!("{what} {} - {word}", printable(&change.name)),
        sentence: sentence.to_owned(),
        reason: printable(&change.reason),
        at: change.at,
    }
}

pub(super) fn subject(letter: &Letter, node: &str) -> String {
    let node = printable(node);
    match letter.items.as_slice() {
        [only] => format!("[{node}] {}", only.headline),
        items => {
            let last = items.last().map_or("", |item| item.headline.as_str());
            format!("[{node}] {} events, the last: {last}", items.len())
        }
    }
}

pub(super) fn body(letter: &Letter) -> String {
    let mut text = String::new();
    if letter.omitted > 0 {
        text.push_str(&format!("{} earlier events are not listed: they were too many.\n\n", letter.omitted));
    }
    let several = letter.items.len() > 1;
    for item in &letter.items {
        if several {
            text.push_str(&format!("{}\n", item.headline));
        }
        text.push_str(&format!("=> {} <=\n\n", item.sentence));
        text.push_str(&format!("Reason: {}\nTime: {}\n\n", item.reason, rfc3339(item.at)));
    }
    text
}

/// When its newest item happened.
pub(super) fn date(letter: &Letter) -> SystemTime {
    // lettre's formatter knows the years 1970 to 9999.
    let end = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    letter.items.iter().map(|item| item.at).max().unwrap_or(UNIX_EPOCH).clamp(UNIX_EPOCH, end)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant to count from; the clock stands")]
mod tests {
    use std::time::Instant;

    use super::super::gather::{Gather, Step};
    use super::*;

    fn letter(items: Vec<Item>) -> Letter {
        let mut gather = Gather::default();
        for item in items {
            gather.push(item);
        }
        match gather.next(Instant::now(), Duration::ZERO, &[], false) {
            Step::Send(letter) => letter,
            Step::Wait(_) => panic!("it is due"),
        }
    }

    fn told(what: What, state: State) -> Item {
        let at = UNIX_EPOCH + Duration::from_secs(60);
        transition(&Transition { what, name: "V1".into(), state, priority: 100, at, reason: "link\ndown".into() })
    }

    #[test]
    fn headlines_and_sentences_are_keepalived_s() {
        for (what, state, headline, sentence) in [
            (
                What::Instance,
                State::Master,
                "VRRP Instance V1 - Entering MASTER state",
                "VRRP Instance is now owning VRRP VIPs",
            ),
            (
                What::Instance,
                State::Backup,
                "VRRP Instance V1 - Entering BACKUP state",
                "VRRP Instance is no longer owning VRRP VIPs",
            ),
            (
                What::Instance,
                State::Fault,
                "VRRP Instance V1 - Entering FAULT state",
                "VRRP Instance is no longer owning VRRP VIPs",
            ),
            (
                What::Group,
                State::Fault,
                "VRRP Group V1 - Entering FAULT state",
                "All VRRP group instances are now in FAULT state",
            ),
        ] {
            let item = told(what, state);
            assert_eq!((item.headline.as_str(), item.sentence.as_str()), (headline, sentence));
        }
    }

    #[test]
    fn one_item_reads_like_keepalived_s_mail() {
        let letter = letter(vec![told(What::Instance, State::Master)]);
        assert_eq!(subject(&letter, "NODE_A"), "[NODE_A] VRRP Instance V1 - Entering MASTER state");
        assert_eq!(
            body(&letter),
            "=> VRRP Instance is now owning VRRP VIPs <=\n\nReason: link?down\nTime: 1970-01-01T00:01:00.000Z\n\n"
        );
        assert_eq!(date(&letter), UNIX_EPOCH + Duration::from_secs(60));
    }

    #[test]
    fn several_are_listed_in_order_under_the_last() {
        let down =
            Change { of: Watched::Server, name: "p/s".into(), up: false, at: UNIX_EPOCH, reason: "refused".into() };
        let mut letter = letter(vec![told(What::Instance, State::Master), change(&down)]);
        letter.omitted = 3;
        assert_eq!(subject(&letter, "n"), "[n] 2 events, the last: Server p/s - DOWN");
        let text = body(&letter);
        assert!(text.starts_with("3 earlier events are not listed"), "{text}");
        let first = text.find("VRRP Instance V1 - Entering MASTER state\n").unwrap();
        assert!(
            first < text.find("Server p/s - DOWN\n=> It fails its check <=\n\nReason: refused\n").unwrap(),
            "{text}"
        );
    }
}
