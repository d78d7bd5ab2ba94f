//! What rules ask about services, pools and servers (see [`crate::model::figure`]).

use std::ops::Deref;
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
        match figure {
            Figure::Service(ServiceFigure::Connections) => number(self.service.stats.open.load(Ordering::Relaxed)),
            Figure::Service(ServiceFigure::SessionRate) => number(self.ruling.session_rate(self.now)),
            of_pool => about_pool(of_pool, |name| self.ruling.named(name), self.now),
        }
    }
}

/// A number about a pool or one of its servers; 0 where there is none of its name.
pub(super) fn about_pool<P: Deref<Target = PoolShared>>(
    figure: &Figure,
    named: impl FnOnce(&str) -> Option<P>,
    now: Instant,
) -> i64 {
    let Some(pool) = figure.pool().and_then(named) else { return 0 };
    match figure {
        Figure::Service(_) => 0,
        Figure::Pool(figure, _) => pool.figure(*figure, now),
        Figure::Server(figure, of) => pool.server_figure(*figure, &of.server, now),
    }
}

impl PoolShared {
    /// Open connections.
    pub(super) fn open(&self) -> u64 {
        self.lock().servers.iter().map(|server| server.stats.open.load(Ordering::Relaxed)).sum()
    }

    fn figure(&self, figure: PoolFigure, now: Instant) -> i64 {
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

    fn server_figure(&self, figure: ServerFigure, server: &str, now: Instant) -> i64 {
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
