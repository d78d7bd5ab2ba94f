//! An earlier life of the process is taken up, as far as the configuration still knows what that learnt.

use std::time::{Duration, Instant, SystemTime};

use data_encoding::HEXLOWER;

use super::format::{Agent, Entry, Health, Learnt, Server};
use super::gather::{configuration, key_type};
use crate::app::node::Node;
use crate::app::operate::admin;
use crate::app::wishes::Given;
use crate::control::operate::ServerChange;
use crate::model;
use crate::probe::{AgentWord, Overrule, Recalled, is_believed};
use crate::stats::{LastCheck, LastCheckSnapshot};

/// What was found out about servers.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) health: Vec<Recalled>,
    pub(super) words: Vec<AgentWord>,
    /// Checks and agents that an operator wants to rest.
    pub(super) pauses: Vec<(String, String, Overrule)>,
}

impl Node {
    /// To be called before anybody is served: a server that was down gets nobody before it was checked.
    pub(in crate::app) fn take_up_learnt(&mut self) {
        let mut known = Known::default();
        let saved = self.keeper.read().map(|learnt| self.take_up(learnt, &mut known));
        // Whichever is newer was written by who served last.
        self.take_up_states(saved, &mut known);
        self.begin_with(known);
    }

    /// What the state directory has. Returns when it was written.
    fn take_up(&mut self, learnt: Learnt, known: &mut Known) -> SystemTime {
        let Learnt { saved, pools } = learnt;
        let saved = SystemTime::UNIX_EPOCH + Duration::from_millis(saved);
        // A clock that was set back has not moved.
        let away = SystemTime::now().duration_since(saved).unwrap_or(Duration::ZERO);
        let config = self.shared.config();
        let now = Instant::now();
        let (mut entries, mut settings) = (0, 0);
        for pool in pools {
            let configured = config.pool(&pool.name);
            for server in pool.servers {
                let Some(spec) = configured.and_then(|pool| pool.server(&server.name)) else { continue };
                settings += self.set_again(&pool.name, spec, &server, away);
                // The newest last, as they were learnt.
                for name in server.key_names.iter().rev().filter_map(|name| HEXLOWER.decode(name.as_bytes()).ok()) {
                    self.proxy.set_key_name(&pool.name, &server.name, &name);
                }
                known.health.extend(server.health.and_then(|kept| health(&pool.name, &server.name, kept, away, now)));
                known.words.extend(server.agent.and_then(|kept| word(&pool.name, &server.name, kept, away, now)));
            }
            entries += pool.entries.iter().filter(|entry| self.remember(&pool.name, entry, away)).count();
        }
        let checked = known.health.len();
        if entries + settings + checked + known.words.len() > 0 {
            let away = humantime::format_duration(Duration::from_secs(away.as_secs()));
            tracing::info!(target: "vipgate", entries, settings, checked, "taken up what was learnt {away} ago");
        }
        saved
    }

    /// Tells checks and pools what was found.
    fn begin_with(&self, known: Known) {
        let Known { health, words, pauses } = known;
        let places = health.iter().map(|known| (known.pool.clone(), known.server.clone()));
        let places: Vec<_> = places.chain(words.iter().map(|word| (word.pool.clone(), word.server.clone()))).collect();
        self.prober.recall(health, words);
        self.refresh_checks();
        for (pool, server, pause) in pauses {
            // Without a check or an agent today there is nothing to rest.
            let _ = self.prober.overrule(&pool, &server, pause);
        }
        for (pool, server) in &places {
            self.proxy.set_server_up(pool, server, self.prober.is_up(pool, server));
            if self.shared.registry.server(pool, server).status().stopping {
                self.proxy.set_server_stopping(pool, server, true);
            }
        }
    }

    /// What an operator or an agent set, unless the configuration says something else by now. Returns how many things.
    fn set_again(&mut self, pool: &str, known: &model::Server, server: &Server, away: Duration) -> usize {
        let now = configuration(known);
        let then = server.configured.unwrap_or(now);
        let ordered = server.agent.as_ref().map(|agent| agent.ordered).unwrap_or_default();
        // Nobody would take back what an agent said that is no longer asked.
        let stands = server.agent.as_ref().is_some_and(|agent| still_said(known, agent, away));
        let holds = |by_agent: bool| !by_agent || stands;
        let state = server.state.filter(|_| then.disabled == now.disabled && holds(ordered.state));
        let weight = server.weight.filter(|_| then.weight == now.weight && holds(ordered.weight));
        let place = server.place.filter(|_| then.place == now.place && known.name_of.is_none());
        let limit = server.limit.filter(|_| then.limit == now.limit && holds(ordered.limit));
        self.note_orders(
            pool,
            &server.name,
            Given {
                state: state.filter(|_| ordered.state).map(admin),
                weight: weight.filter(|_| ordered.weight),
                limit: limit.filter(|_| ordered.limit),
            },
        );
        let changes = [
            limit.map(|limit| ServerChange::MaxConnections { value: Some(limit).filter(|limit| *limit > 0) }),
            state.map(|state| ServerChange::State { state }),
            weight.map(|value| ServerChange::Weight { value, percent: false }),
            place.map(|place| ServerChange::Address { address: Some(place.address), port: place.port }),
        ];
        changes
            .into_iter()
            .flatten()
            .filter(|change| self.set_in_proxy(pool, &server.name, change.clone()).is_ok())
            .count()
    }

    /// What is the agent's stays the agent's.
    fn note_orders(&mut self, pool: &str, server: &str, kept: Given) {
        if kept.state.is_some() || kept.weight.is_some() || kept.limit.is_some() {
            self.orders.note(pool, server, |order| *order = kept);
        }
    }

    /// Whether the entry could be taken: a server or a table that is no longer configured has no clients.
    fn remember(&self, pool: &str, (key, server, left): &Entry, away: Duration) -> bool {
        let left = match left.map(Duration::from_millis).map(|left| left.checked_sub(away)) {
            // It has expired meanwhile.
            Some(None) => return false,
            Some(left) => left,
            None => None,
        };
        let key = self.shared.config().pool(pool).and_then(key_type).and_then(|kind| kind.read(key));
        // A server or a table that is no longer configured has no clients.
        key.is_some_and(|key| self.proxy.table_set(pool, key, server, left).is_ok())
    }
}

/// None where that was before this machine was started, or before its clock says that anything was.
fn health(pool: &str, server: &str, kept: Health, away: Duration, now: Instant) -> Option<Recalled> {
    let Health { target, counter, up, stopping, last, reason, lasts } = kept;
    let last = self::last(last, away, now)?;
    let since = before(now, Duration::from_millis(lasts), away).unwrap_or(last.at);
    let (pool, server) = (pool.to_owned(), server.to_owned());
    Some(Recalled { pool, server, target, counter, up, stopping, last, reason, since })
}

/// The same of what its agent said.
fn word(pool: &str, server: &str, kept: Agent, away: Duration, now: Instant) -> Option<AgentWord> {
    let Agent { target, down, last, reason, lasts, .. } = kept;
    let last = self::last(last, away, now)?;
    let since = before(now, Duration::from_millis(lasts), away).unwrap_or(last.at);
    let (pool, server) = (pool.to_owned(), server.to_owned());
    Some(AgentWord { pool, server, target, down, last, reason, since })
}

fn last(last: LastCheckSnapshot, away: Duration, now: Instant) -> Option<LastCheck> {
    Some(LastCheck {
        result: last.result,
        code: last.code,
        detail: last.detail,
        duration: Duration::try_from_secs_f64(last.duration_seconds).ok()?,
        at: before(now, Duration::try_from_secs_f64(last.ago_seconds).ok()?, away)?,
    })
}

fn before(now: Instant, ago: Duration, away: Duration) -> Option<Instant> {
    now.checked_sub(ago.saturating_add(away))
}

/// Whether the agent that said something is asked today, and would have taken it back by now.
fn still_said(known: &model::Server, kept: &Agent, away: Duration) -> bool {
    let Some(agent) = &known.agent else { return false };
    let age = Duration::try_from_secs_f64(kept.last.ago_seconds).map_or(Duration::MAX, |ago| ago.saturating_add(away));
    agent.target.port() == kept.target.port() && is_believed(age, agent.interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::keep::format::Ordered;
    use crate::model::CheckResult;

    #[test]
    fn an_agent_s_orders_hold_while_it_would_be_heard() {
        let last = LastCheckSnapshot {
            result: CheckResult::L7Ok,
            code: None,
            detail: "drain".to_owned(),
            duration_seconds: 0.0,
            ago_seconds: 1.0,
        };
        let target = ([192, 0, 2, 1], 9).into();
        let (ordered, reason) = (Ordered::default(), String::new());
        let kept = Agent { target, down: false, ordered, last, reason, lasts: 0 };
        let asked = |port| model::Server {
            agent: Some(model::Agent::new(([192, 0, 2, 1], port).into())),
            ..model::Server::new("s", [192, 0, 2, 1].into())
        };
        // It is asked every two seconds.
        for (server, away, expected) in [
            (asked(9), 10, true),
            (asked(9), 301, true),
            (asked(9), 302, false),
            (asked(10), 10, false),
            (model::Server { agent: None, ..asked(9) }, 10, false),
        ] {
            assert_eq!(still_said(&server, &kept, Duration::from_secs(away)), expected, "{:?} {away}", server.agent);
        }
    }
}
