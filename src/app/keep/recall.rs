//! An earlier life of the process is taken up, as far as the configuration still knows what that learnt.

use std::time::{Duration, Instant, SystemTime};

use data_encoding::HEXLOWER;

use super::format::{Entry, Health, Learnt, Server};
use super::gather::{configuration, key_type};
use crate::app::node::Node;
use crate::control::operate::ServerChange;
use crate::model::{self, AdminState};
use crate::probe::Recalled;
use crate::stats::LastCheck;

impl Node {
    /// To be called before anybody is served: a server that was down gets nobody before it was checked.
    pub(in crate::app) fn take_up_learnt(&self) {
        let Some(Learnt { saved, pools }) = self.keeper.read() else { return };
        let saved = SystemTime::UNIX_EPOCH + Duration::from_millis(saved);
        // A clock that was set back has not moved.
        let away = SystemTime::now().duration_since(saved).unwrap_or(Duration::ZERO);
        let config = self.shared.config();
        let now = Instant::now();
        let (mut entries, mut settings) = (0, 0);
        let mut health = Vec::new();
        for pool in pools {
            let known = config.pool(&pool.name).map_or(&[][..], |pool| &pool.servers);
            for server in pool.servers {
                let Some(known) = known.iter().find(|known| known.name == server.name) else { continue };
                settings += self.set_again(&pool.name, known, &server);
                // The newest last, as they were learnt.
                for name in server.key_names.iter().rev().filter_map(|name| HEXLOWER.decode(name.as_bytes()).ok()) {
                    self.proxy.set_key_name(&pool.name, &server.name, &name);
                }
                health.extend(server.health.and_then(|health| recalled(&pool.name, &server.name, health, away, now)));
            }
            entries += pool.entries.iter().filter(|entry| self.remember(&pool.name, entry, away)).count();
        }
        let places: Vec<_> = health.iter().map(|known| (known.pool.clone(), known.server.clone())).collect();
        self.prober.recall(health);
        self.refresh_checks();
        for (pool, server) in &places {
            self.proxy.set_server_up(pool, server, self.prober.is_up(pool, server));
            if self.shared.registry.server(pool, server).status().stopping {
                // It is known: the configuration has it.
                let _ = self.proxy.set_server_admin(pool, server, AdminState::Drain);
            }
        }
        if entries + settings + places.len() > 0 {
            let away = humantime::format_duration(Duration::from_secs(away.as_secs()));
            let checked = places.len();
            tracing::info!(target: "vipgate", entries, settings, checked, "taken up what was learnt {away} ago");
        }
    }

    /// What an operator set, unless the configuration says something else by now. Returns how many things.
    fn set_again(&self, pool: &str, known: &model::Server, server: &Server) -> usize {
        let now = configuration(known);
        let then = server.configured.unwrap_or(now);
        let state = server.state.filter(|_| then.disabled == now.disabled);
        let weight = server.weight.filter(|_| then.weight == now.weight);
        let place = server.place.filter(|_| then.place == now.place && known.name_of.is_none());
        let limit = server.limit.filter(|_| then.limit == now.limit);
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
fn recalled(pool: &str, server: &str, health: Health, away: Duration, now: Instant) -> Option<Recalled> {
    let Health { target, counter, up, stopping, agent_down, last, reason, lasts } = health;
    let ago = |before: Duration| now.checked_sub(before.saturating_add(away));
    let at = ago(Duration::try_from_secs_f64(last.ago_seconds).ok()?)?;
    let last = LastCheck {
        result: last.result,
        code: last.code,
        detail: last.detail,
        duration: Duration::try_from_secs_f64(last.duration_seconds).ok()?,
        at,
    };
    let since = ago(Duration::from_millis(lasts)).unwrap_or(at);
    let (pool, server) = (pool.to_owned(), server.to_owned());
    Some(Recalled { pool, server, target, counter, up, stopping, agent_down, last, reason, since })
}
