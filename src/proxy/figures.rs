//! What rules ask about services, pools and servers (see [`crate::model::figure`]).

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::ruling::Around;
use super::shared::{PoolShared, PoolState};
use crate::model::figure::{Figure, PoolFigure, ServerFigure, ServiceFigure};
use crate::rules::Rate;

const SECOND: Duration = Duration::from_secs(1);

/// How many connections there were within the last second. Workers share it, so it is kept only once somebody is known to
/// ask, or does.
#[derive(Debug, Default)]
pub(super) struct PerSecond(OnceLock<Mutex<Rate>>);

impl PerSecond {
    /// From now on, if not yet.
    pub(super) fn keep(&self, now: Instant) -> &Mutex<Rate> {
        self.0.get_or_init(|| Mutex::new(Rate::new(now)))
    }

    /// There was one more.
    pub(super) fn count(&self, now: Instant) {
        if let Some(rate) = self.0.get() {
            lock(rate).add(SECOND, now);
        }
    }

    pub(super) fn value(&self, now: Instant) -> u64 {
        lock(self.keep(now)).value(SECOND, now)
    }
}

fn lock(rate: &Mutex<Rate>) -> MutexGuard<'_, Rate> {
    rate.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Around<'_> {
    pub(super) fn figure_of(&self, figure: &Figure) -> i64 {
        let named = |name: &str| self.ruling.named(name);
        match figure {
            Figure::Service(ServiceFigure::Connections) => number(self.service.stats.open.load(Ordering::Relaxed)),
            Figure::Service(ServiceFigure::SessionRate) => number(self.ruling.session_rate(self.now)),
            Figure::Pool(figure, name) => named(name).map_or(0, |pool| pool.figure(*figure, self.now)),
            Figure::Server(figure, of) => {
                named(&of.pool).map_or(0, |pool| pool.server_figure(*figure, &of.server, self.now))
            }
        }
    }
}

impl PoolShared {
    /// Open connections.
    pub(super) fn open(&self) -> u64 {
        self.lock().servers.iter().map(|server| server.stats.open.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn figure(&self, figure: PoolFigure, now: Instant) -> i64 {
        let waiting = || self.waiting.load(Ordering::Relaxed);
        match figure {
            PoolFigure::Connections => number(self.open() + waiting()),
            PoolFigure::UsableServers => number(self.lock().balance.usable_servers() as u64),
            PoolFigure::FreePlaces => {
                let state = self.lock();
                room(state.balance.free_places(|position| load(&state, position), now))
            }
            PoolFigure::FreeSlots => {
                let state = self.lock();
                room(state.balance.free_slots(|position| load(&state, position)))
            }
            PoolFigure::Waiting => number(waiting()),
            PoolFigure::AverageWaiting => number(match self.lock().balance.usable_servers() as u64 {
                0 => waiting() * 2,
                servers => waiting().div_ceil(servers),
            }),
            PoolFigure::SessionRate => number(self.sessions.value(now)),
        }
    }

    pub(super) fn server_figure(&self, figure: ServerFigure, server: &str, now: Instant) -> i64 {
        let state = self.lock();
        match figure {
            ServerFigure::Connections => {
                let found = state.servers.iter().find(|known| known.name == server);
                found.map_or(0, |server| number(server.stats.open.load(Ordering::Relaxed)))
            }
            ServerFigure::FreePlaces => {
                room(state.balance.free_places_of(server, |position| load(&state, position), now))
            }
            ServerFigure::Waiting => number(state.balance.waiting_for(server) as u64),
        }
    }
}

fn load(state: &PoolState, position: usize) -> u64 {
    state.servers.get(position).map_or(0, |server| server.stats.open.load(Ordering::SeqCst))
}

fn room(places: Option<u64>) -> i64 {
    places.map_or(-1, number)
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
