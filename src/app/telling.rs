//! Who is told what happens: scripts, pipes, mail and events hear of routers, groups, servers and trackers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::hooks::Hooks;
use super::node::Node;
use crate::control::Reply;
use crate::control::server::Answer;
use crate::model::{Config, TrackState};
use crate::notify::{Change, LowerPriority, Notifier, State, Transition, Watched, What};
use crate::probe;
use crate::stats::Role;
use crate::track;

/// Subscribers of events at a time: others on the control socket must find a place too.
const SUBSCRIBERS: usize = 16;
/// What scripts, pipes and mail have to finish in when the process ends.
const LAST_WORDS: Duration = Duration::from_millis(800);

impl Node {
    /// A virtual router is in another role.
    pub(super) fn tell_router(&self, name: &str, role: Role, priority: u8, reason: &str) {
        // One that was removed was told as stopped already.
        if self.shared.config().routers.iter().any(|router| router.name == name) {
            self.tell(What::Instance, name, role, priority, reason);
        }
    }

    /// A sync group is in another role.
    pub(super) fn tell_group(&self, name: &str, role: Role) {
        // keepalived says 0.
        self.tell(What::Group, name, role, 0, "its members agree");
    }

    fn tell(&self, what: What, name: &str, role: Role, priority: u8, reason: &str) {
        let state = match role {
            Role::Master => State::Master,
            Role::Backup => State::Backup,
            Role::Fault => State::Fault,
            Role::Initialize => State::Stop,
            // On its way: what comes of it is told.
            Role::Leaving => return,
        };
        let (name, reason) = (name.to_owned(), reason.to_owned());
        self.notifier.tell(&Transition { what, name, state, priority, at: SystemTime::now(), reason });
    }

    /// A master heard a router that is no better.
    pub(super) fn tell_lower(&self, name: &str) {
        let status = self.shared.registry.router(name).status();
        let reason = status.master.map_or_else(String::new, |(address, priority)| format!("{address} at {priority}"));
        let (name, priority) = (name.to_owned(), status.priority);
        self.notifier.lower_priority(&LowerPriority { name, priority, at: SystemTime::now(), reason });
    }

    /// A server went up or down.
    pub(super) fn tell_server(&self, transition: &probe::Transition) {
        let name = format!("{}/{}", transition.pool, transition.server);
        let (up, reason) = (transition.up, transition.reason.clone());
        self.notifier.change(&Change { of: Watched::Server, name, up, at: SystemTime::now(), reason });
    }

    /// A tracker changed: routers that follow it are told, and whoever listens.
    pub(super) fn tracked(&self, changed: track::Changed) {
        let track::Changed { name, state, reason } = changed;
        tracing::info!(target: "vipgate", tracker = name, ?state, reason, "tracker changed");
        self.speaker.set_tracked(&name, state);
        let up = match state {
            TrackState::Unknown => return,
            TrackState::Up => true,
            TrackState::Down => false,
            TrackState::Number(number) => number >= 0,
        };
        self.notifier.change(&Change { of: Watched::Tracker, name, up, at: SystemTime::now(), reason });
    }

    /// Those that `after` no longer has are told as stopped while it is still known whom to tell; then `after` holds.
    pub(super) fn tell_as_configured(&mut self, before: &Config, after: &Config) {
        for router in &before.routers {
            if !after.routers.iter().any(|other| other.name == router.name) {
                self.tell(What::Instance, &router.name, Role::Initialize, 0, "removed from the configuration");
            }
        }
        for group in &before.groups {
            if !after.groups.iter().any(|other| other.name == group.name) {
                self.tell(What::Group, &group.name, Role::Initialize, 0, "removed from the configuration");
            }
        }
        self.hooks.configure(&before.routers, &after.routers);
        let node = after.global.node.clone().unwrap_or_else(|| self.shared.host_name().to_owned());
        self.notifier.apply(&node, &after.notify, &after.routers, &after.groups);
    }

    /// Tells every event from now on.
    pub(super) fn subscribe(&self, answer: Answer) {
        if Arc::strong_count(&self.subscribers) > SUBSCRIBERS {
            let text = format!("{SUBSCRIBERS} clients follow the events already");
            answer.finish(Reply::failed(text, "end one of them"));
            return;
        }
        let (mut subscription, place) = (self.notifier.subscribe(), Arc::clone(&self.subscribers));
        tokio::spawn(async move {
            let _place = place;
            loop {
                tokio::select! {
                    line = subscription.next() => {
                        let event = line.and_then(|line| serde_json::from_str(&line).ok());
                        let Some(event) = event else { return };
                        if !answer.event(event).await {
                            return;
                        }
                    }
                    () = answer.abandoned() => return,
                }
            }
        });
    }
}

/// Hooks finish, each within its own time; then everybody who is told has a moment for the last words.
pub(super) async fn finish(hooks: Hooks, notifier: Notifier) {
    hooks.finish().await;
    notifier.stop(LAST_WORDS).await;
}
