//! What servers may do: as their checks found them, as an administrator set them, as those are that they track.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Proxy;
use super::operate::OperateError;
use super::shared::PoolShared;
use crate::balance::{Followed, ServerState};
use crate::model::{AdminState, OnMarkedDown, OnMarkedUp, ServerRef};
use crate::stats::EndReason;
use crate::stats::server_line::{Line, ServerLine};

impl Proxy {
    /// A check changed its mind about a server, and about those that track it. Connections are reset where the servers say
    /// so.
    pub fn set_server_up(&self, pool: &str, server: &str, up: bool) {
        let Some(shared) = self.pools.get(pool) else { return };
        let now = Instant::now();
        if shared.change(now, |balance| balance.set_up(server, up, now)) {
            self.on_marked(pool, shared, server, up);
            self.tell_trackers(pool, server);
        }
    }

    /// Checks ask for no new clients, or for new ones again, also for those that track the server.
    pub fn set_server_stopping(&self, pool: &str, server: &str, stopping: bool) {
        let Some(shared) = self.pools.get(pool) else { return };
        let now = Instant::now();
        if shared.change(now, |balance| balance.set_stopping(server, stopping, now)) {
            self.tell_trackers(pool, server);
        }
    }

    /// Sets what a server may do, and those that track it. In maintenance it counts as down: connections are reset where the
    /// servers say so. `Ready` for an active server ends a fail-over that would not end by itself.
    pub fn set_server_admin(&self, pool: &str, server: &str, admin: AdminState) -> Result<(), OperateError> {
        let (shared, _) = self.find(pool, server)?;
        let changed = self.alter(pool, shared, server, None, |balance, now| {
            let changed = balance.set_admin(server, admin, now);
            if admin == AdminState::Ready && !balance.is_backup(server) {
                balance.fail_back();
            }
            changed
        });
        if changed {
            self.tell_trackers(pool, server);
        }
        Ok(())
    }

    /// After a reload, those that track a server are as it is.
    pub(super) fn follow_tracked(&self) {
        let tracked: BTreeSet<ServerRef> = self
            .pools
            .values()
            .flat_map(|pool| pool.spec().servers.iter().filter_map(|server| server.track.clone()).collect::<Vec<_>>())
            .collect();
        for ServerRef { pool, server } in tracked {
            self.tell_trackers(&pool, &server);
        }
    }

    /// Those that track a server are as it is, and those that track them.
    fn tell_trackers(&self, pool: &str, server: &str) {
        let Some(followed) = self.pools.get(pool).and_then(|pool| state(pool, server)).map(|state| state.to_follow())
        else {
            return;
        };
        let via = format!("{pool}/{server}");
        for (name, shared) in &self.pools {
            for tracker in &shared.spec().servers {
                if tracker.track.as_ref().is_some_and(|at| at.pool == pool && at.server == server) {
                    self.follow(name, shared, &tracker.name, (followed, &via));
                }
            }
        }
    }

    fn follow(&self, pool: &str, shared: &PoolShared, server: &str, (followed, via): (Followed, &str)) {
        shared.show_tracked(server, followed, via, Instant::now());
        if self.alter(pool, shared, server, Some(via), |balance, now| balance.follow(server, followed, now)) {
            self.tell_trackers(pool, server);
        }
    }

    /// Changes a server, says so in the log, and does to its connections what that means for them.
    fn alter(
        &self,
        pool: &str,
        shared: &PoolShared,
        server: &str,
        via: Option<&str>,
        change: impl FnOnce(&mut crate::balance::Pool, Instant) -> bool,
    ) -> bool {
        let (now, before) = (Instant::now(), state(shared, server));
        let changed = shared.change(now, |balance| change(balance, now));
        if let (Some(before), Some(after)) = (before, state(shared, server)) {
            self.tell(pool, shared, (&before, &after), via);
            if serves(&before) != serves(&after) {
                self.on_marked(pool, shared, server, serves(&after));
            }
        }
        changed
    }

    fn tell(&self, pool: &str, shared: &PoolShared, (before, after): (&ServerState, &ServerState), via: Option<&str>) {
        let servers = shared.views(Instant::now());
        let usable =
            |backup: bool| servers.iter().filter(|view| view.state.eligible && view.state.backup == backup).count();
        let stats = self.global.registry.server(pool, &after.name);
        let line = ServerLine {
            pool,
            server: &after.name,
            backup: after.backup,
            usable: (usable(false), usable(true)),
            sessions: stats.open.load(std::sync::atomic::Ordering::Relaxed),
        };
        for told in lines(&line, (before, after), via) {
            told.log();
        }
    }

    /// What a server that came or went does to connections.
    fn on_marked(&self, pool: &str, shared: &PoolShared, server: &str, up: bool) {
        let spec = shared.spec();
        let Some(said) = spec.server(server) else { return };
        let stats = |server: &str| self.global.registry.server(pool, server);
        if !up && said.on_marked_down == OnMarkedDown::ShutdownSessions {
            self.reset_server(&stats(server), EndReason::ServerDown, drop);
        }
        if up && said.on_marked_up == OnMarkedUp::ShutdownBackupSessions && !said.backup {
            for backup in spec.servers.iter().filter(|server| server.backup) {
                self.reset_server(&stats(&backup.name), EndReason::FailedBack, drop);
            }
        }
    }
}

fn state(pool: &PoolShared, server: &str) -> Option<ServerState> {
    pool.lock().balance.servers(Instant::now()).into_iter().find(|state| state.name == server)
}

/// Whether it serves the clients it has.
fn serves(state: &ServerState) -> bool {
    state.up && state.allowed() != AdminState::Maintenance
}

/// What HAProxy says of such a change.
fn lines(line: &ServerLine<'_>, (before, after): (&ServerState, &ServerState), via: Option<&str>) -> Vec<Line> {
    use AdminState::{Drain, Maintenance, Ready};
    let health = if after.up { "UP" } else { "DOWN" };
    let with = via.map_or_else(String::new, |via| format!(" via {via}"));
    let left = if via.is_some() { "leaving maintenance" } else { "leaving forced maintenance" };
    let remains = || line.plain("remains in forced drain mode");
    let set = |state: &ServerState| (state.admin, state.followed);
    match (before.allowed(), after.allowed()) {
        (Ready | Drain, Maintenance) if before.up => line.down(&format!("is going DOWN for maintenance{with}")),
        (Ready | Drain, Maintenance) => vec![line.plain(&format!("was DOWN and now enters maintenance{with}"))],
        // Whatever its checks find next, it is taken for up.
        (Maintenance, Ready) => vec![line.plain(&format!("is UP/READY ({left})"))],
        (Maintenance, Drain) => {
            let drains = line.plain(&format!("is UP/DRAIN ({left})"));
            [drains].into_iter().chain((after.admin == Drain).then(remains)).collect()
        }
        (Ready, Drain) if after.up => vec![line.online(&format!("enters drain state{with}"))],
        (Ready, Drain) => vec![line.left(&format!("enters drain state{with}"))],
        (Drain, Ready) => vec![line.plain(&format!("is {health} (leaving forced drain)"))],
        (Maintenance, Maintenance) => Vec::new(),
        (Drain, Drain) if set(before) != set(after) => (after.admin == Drain).then(remains).into_iter().collect(),
        (Ready, Ready) | (Drain, Drain) => match (before.up, after.up) {
            (true, false) => line.down(&format!("is DOWN{with}")),
            (false, true) => vec![line.online(&format!("is UP{with}"))],
            _ if after.stopping && !before.stopping => vec![line.online(&format!("is stopping{with}"))],
            _ if before.stopping && !after.stopping => vec![line.online(&format!("is UP{with}"))],
            _ => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance;
    use crate::model::{Pool, Server};

    fn state(up: bool, stopping: bool, allowed: AdminState) -> ServerState {
        let pool = Pool::new("b", vec![Server::new("s1", [192, 0, 2, 1].into())]);
        let state = balance::Pool::new(&pool, Instant::now()).servers(Instant::now()).remove(0);
        ServerState { up, stopping, admin: allowed, ..state }
    }

    /// As HAProxy 2.6 says it.
    #[test]
    fn states_are_told_in_haproxys_words() {
        use AdminState::{Drain, Maintenance, Ready};
        let (up, drains, rests) =
            (state(true, false, Ready), state(true, false, Drain), state(true, false, Maintenance));
        let (down, stopping) = (state(false, false, Ready), state(true, true, Ready));
        let said = |before: &ServerState, after: &ServerState, via: Option<&str>, usable: (usize, usize)| {
            let line = ServerLine { pool: "b", server: "s1", backup: false, usable, sessions: 3 };
            let text = |line| match line {
                Line::Info(text) | Line::Warning(text) | Line::Error(text) => text,
            };
            lines(&line, (before, after), via).into_iter().map(text).collect::<Vec<_>>()
        };
        let left = "3 sessions active, 0 requeued, 0 remaining in queue.";
        let online = "0 sessions requeued, 0 total in queue.";
        assert_eq!(
            said(&up, &rests, None, (0, 1)),
            [format!(
                "Server b/s1 is going DOWN for maintenance. 0 active and 1 backup servers left. Running on backup. {left}"
            )]
        );
        assert_eq!(
            said(&up, &rests, Some("a/x"), (0, 0)),
            [
                format!(
                    "Server b/s1 is going DOWN for maintenance via a/x. 0 active and 0 backup servers left. {left}"
                ),
                "backend b has no server available!".to_owned()
            ]
        );
        assert_eq!(said(&down, &rests, None, (0, 0)), ["Server b/s1 was DOWN and now enters maintenance."]);
        assert_eq!(said(&rests, &up, None, (1, 0)), ["Server b/s1 is UP/READY (leaving forced maintenance)."]);
        assert_eq!(said(&rests, &up, Some("a/x"), (1, 0)), ["Server b/s1 is UP/READY (leaving maintenance)."]);
        assert_eq!(
            said(&rests, &drains, None, (1, 0)),
            ["Server b/s1 is UP/DRAIN (leaving forced maintenance).", "Server b/s1 remains in forced drain mode."]
        );
        assert_eq!(
            said(&up, &drains, Some("a/x"), (2, 1)),
            [format!("Server b/s1 enters drain state via a/x. 2 active and 1 backup servers online. {online}")]
        );
        assert_eq!(said(&drains, &up, None, (2, 1)), ["Server b/s1 is UP (leaving forced drain)."]);
        assert_eq!(
            said(&up, &stopping, Some("a/x"), (1, 0)),
            [format!("Server b/s1 is stopping via a/x. 1 active and 0 backup servers online. {online}")]
        );
        assert_eq!(
            said(&down, &up, Some("a/x"), (1, 0)),
            [format!("Server b/s1 is UP via a/x. 1 active and 0 backup servers online. {online}")]
        );
        assert_eq!(
            said(&up, &down, Some("a/x"), (1, 0)),
            [format!("Server b/s1 is DOWN via a/x. 1 active and 0 backup servers left. {left}")]
        );
        assert_eq!(said(&up, &up, None, (1, 0)), Vec::<String>::new());
    }
}
