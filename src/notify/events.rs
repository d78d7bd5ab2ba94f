//! Transitions as JSON lines, for `vipgate events`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::stats::Registry;

use super::news::{Change, LowerPriority, State, Transition, Watched, What, rfc3339};

/// Events a subscriber may be behind before it loses the oldest.
const BEHIND: usize = 1024;

/// One line of JSON, without its end.
pub type Line = Arc<str>;

/// A stream of events, from the moment it was subscribed on.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Line>,
    registry: Arc<Registry>,
}

/// What an event says. Absent where its kind has no such thing.
#[derive(Debug, Serialize)]
struct Event<'a> {
    /// One more with each event of the process.
    seq: u64,
    /// When, in UTC.
    time: String,
    /// The node's name.
    node: &'a str,
    /// `router`, `group`, `server`, `tracker`, or `lower-priority` for a master that heard one.
    kind: &'a str,
    name: &'a str,
    /// The state before; absent the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    reason: &'a str,
}

/// Told to a subscriber in the place of the events it was too slow for.
#[derive(Debug, Serialize)]
struct Lost {
    kind: &'static str,
    count: u64,
}

#[derive(Debug)]
pub(super) struct Events {
    sender: broadcast::Sender<Line>,
    registry: Arc<Registry>,
}

impl Subscription {
    /// The next event, or a line of kind `lost` with the number of those this subscriber was too slow for. None once the
    /// process ends. It may be dropped while it waits.
    pub async fn next(&mut self) -> Option<Line> {
        match self.receiver.recv().await {
            Ok(line) => Some(line),
            Err(RecvError::Lagged(count)) => {
                self.registry.notify.events_lost.fetch_add(count, Ordering::Relaxed);
                line(&Lost { kind: "lost", count })
            }
            Err(RecvError::Closed) => None,
        }
    }
}

impl Events {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { sender: broadcast::Sender::new(BEHIND), registry }
    }

    pub(super) fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe(), registry: Arc::clone(&self.registry) }
    }

    pub(super) fn transition(&self, told: &Transition, from: Option<State>, seq: u64, node: &str) {
        let kind = match told.what {
            What::Instance => "router",
            What::Group => "group",
        };
        self.publish(&Event {
            from: from.map(State::label),
            to: Some(told.state.label()),
            priority: (told.what == What::Instance).then_some(told.priority),
            ..event(seq, told.at, node, kind, &told.name, &told.reason)
        });
    }

    pub(super) fn lower_priority(&self, heard: &LowerPriority, seq: u64, node: &str) {
        let base = event(seq, heard.at, node, "lower-priority", &heard.name, &heard.reason);
        self.publish(&Event { priority: Some(heard.priority), ..base });
    }

    pub(super) fn change(&self, change: &Change, from: Option<bool>, seq: u64, node: &str) {
        let kind = match change.of {
            Watched::Server => "server",
            Watched::Tracker => "tracker",
        };
        let word = |up: bool| if up { "up" } else { "down" };
        let base = event(seq, change.at, node, kind, &change.name, &change.reason);
        self.publish(&Event { from: from.map(word), to: Some(word(change.up)), ..base });
    }

    fn publish(&self, event: &Event<'_>) {
        self.registry.notify.events.fetch_add(1, Ordering::Relaxed);
        if let Some(line) = line(event) {
            // Without a subscriber nobody misses it.
            let _ = self.sender.send(line);
        }
    }
}

fn event<'a>(seq: u64, at: SystemTime, node: &'a str, kind: &'a str, name: &'a str, reason: &'a str) -> Event<'a> {
    Event { seq, time: rfc3339(at), node, kind, name, from: None, to: None, priority: None, reason }
}

/// Strings and numbers always become JSON.
fn line(value: &impl Serialize) -> Option<Line> {
    serde_json::to_string(value).ok().map(Line::from)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn told(state: State) -> Transition {
        let at = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let reason = "the peer's \"adverts\" stopped".into();
        Transition { what: What::Instance, name: "front".into(), state, priority: 150, at, reason }
    }

    #[tokio::test]
    async fn each_kind_has_its_line() {
        let events = Events::new(Arc::default());
        let mut subscription = events.subscribe();
        events.transition(&told(State::Master), Some(State::Backup), 1, "a");
        let group = Transition { what: What::Group, ..told(State::Stop) };
        events.transition(&group, None, 2, "a");
        let at = UNIX_EPOCH;
        let change = Change { of: Watched::Server, name: "p/s".into(), up: false, at, reason: "refused".into() };
        events.change(&change, Some(true), 3, "a");
        events.change(&Change { of: Watched::Tracker, up: true, ..change }, None, 4, "a");
        let heard = LowerPriority { name: "front".into(), priority: 9, at, reason: "from b".into() };
        events.lower_priority(&heard, 5, "a");
        drop(events);
        for line in [
            r#"{"seq":1,"time":"2027-01-15T08:00:00.000Z","node":"a","kind":"router","name":"front","from":"backup","to":"master","priority":150,"reason":"the peer's \"adverts\" stopped"}"#,
            r#"{"seq":2,"time":"2027-01-15T08:00:00.000Z","node":"a","kind":"group","name":"front","to":"stopped","reason":"the peer's \"adverts\" stopped"}"#,
            r#"{"seq":3,"time":"1970-01-01T00:00:00.000Z","node":"a","kind":"server","name":"p/s","from":"up","to":"down","reason":"refused"}"#,
            r#"{"seq":4,"time":"1970-01-01T00:00:00.000Z","node":"a","kind":"tracker","name":"p/s","to":"up","reason":"refused"}"#,
            r#"{"seq":5,"time":"1970-01-01T00:00:00.000Z","node":"a","kind":"lower-priority","name":"front","priority":9,"reason":"from b"}"#,
        ] {
            assert_eq!(subscription.next().await.as_deref(), Some(line));
        }
        assert_eq!(subscription.next().await, None);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_how_many_it_lost_and_has_the_newest() {
        let registry = Arc::<Registry>::default();
        let events = Events::new(Arc::clone(&registry));
        let mut slow = events.subscribe();
        let total = BEHIND as u64 + 10;
        for seq in 1..=total {
            events.transition(&told(State::Master), None, seq, "a");
        }
        assert_eq!(slow.next().await.as_deref(), Some(r#"{"kind":"lost","count":10}"#));
        assert!(slow.next().await.unwrap().starts_with(r#"{"seq":11,"#));
        assert_eq!(registry.notify.events_lost.load(Ordering::Relaxed), 10);
        assert_eq!(registry.notify.events.load(Ordering::Relaxed), total);
    }
}
