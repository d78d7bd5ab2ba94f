//! Whom the listeners of a worker let in, as far as limits and descriptors allow.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{LISTENER, Worker, encode, token};
use crate::os::tcp::{Listener, Stream};
use crate::proxy::connection::{Binding, Connection, Reset};
use crate::proxy::inspect;
use crate::proxy::relay::Side;
use crate::proxy::slab::Key;
use crate::stats::EndReason;

/// Connections accepted from one listener before others get their turn, at most.
const ACCEPTS: usize = 64;
/// The kernel's bound for a queue of connections to be accepted, `net.core.somaxconn`, as it is by default.
const LONGEST_QUEUE: usize = 4096;
/// Pause after accept() found no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener as one worker has it.
#[derive(Debug)]
pub(super) struct Accepting {
    id: u64,
    listener: Arc<Listener>,
    pub(super) binding: Rc<Binding>,
    /// A limit stopped it, and that was counted.
    limited: bool,
    /// It is in the worker's list of those that wait for room, and is not reported.
    paused: bool,
    /// Clients taken before others get their turn: more as long as so many come, since to ask for one that is not there costs
    /// as much as one that is.
    burst: usize,
}

impl Worker {
    pub(super) fn listen(&mut self, id: u64, listener: Arc<Listener>, binding: Binding) {
        let key = self.listeners.next_key();
        if let Err(error) = self.poller.add_listener(&*listener, encode(key, LISTENER)) {
            tracing::error!(address = %binding.address, %error, "cannot watch a listener: its clients will not be accepted");
            return;
        }
        let binding = Rc::new(binding);
        self.listeners.insert(Box::new(Accepting { id, listener, binding, limited: false, paused: false, burst: 1 }));
        self.listeners_by_id.insert(id, key);
        self.accept(key);
    }

    /// Accepts clients that wait at a listener, as far as limits allow. Those that it leaves are reported again.
    pub(super) fn accept(&mut self, key: Key) {
        let Some(burst) = self.listeners.get_mut(key).map(|accepting| accepting.burst) else { return };
        let accepted = self.accept_most(key, burst);
        if let Some(accepting) = self.listeners.get_mut(key).filter(|accepting| !accepting.paused) {
            accepting.burst = if accepted < burst { accepted.max(1) } else { (burst * 2).min(ACCEPTS) };
        }
    }

    /// Accepts so many clients, if they are there and limits allow it, and returns how many it were.
    fn accept_most(&mut self, key: Key, most: usize) -> usize {
        for accepted in 0..most {
            let Some(accepting) = self.listeners.get_mut(key).filter(|accepting| !accepting.paused) else {
                return accepted;
            };
            let service = &accepting.binding.service;
            let Some(open) = service.enter(self.now) else {
                if !std::mem::replace(&mut accepting.limited, true) {
                    service.stats.limited.fetch_add(1, Ordering::Relaxed);
                }
                self.pause_accepting(key);
                return accepted;
            };
            match accepting.listener.accept() {
                Ok(Some((stream, client))) => {
                    service.stats.accepted.fetch_add(1, Ordering::Relaxed);
                    service.stats.open_max.fetch_max(open, Ordering::Relaxed);
                    let binding = Rc::clone(&accepting.binding);
                    self.begin(stream, client, binding);
                    if self.shortages.now {
                        self.pause_accepting(key);
                    }
                }
                Ok(None) => {
                    service.leave();
                    accepting.limited = false;
                    return accepted;
                }
                Err(error) => {
                    service.leave();
                    self.shortages.meet(&error, self.now);
                    self.pause_accepting(key);
                }
            }
        }
        most
    }

    /// What waits at the listener stays there until there is room.
    fn pause_accepting(&mut self, key: Key) {
        let Some(accepting) = self.listeners.get_mut(key) else { return };
        // All that wait are asked for once there is room: only then is the limit known to be over.
        (accepting.paused, accepting.burst) = (true, ACCEPTS);
        self.watch_listener(key, false);
        self.paused.push(key);
        self.retry_at.get_or_insert(self.now + ACCEPT_PAUSE);
    }

    /// There may be room again.
    fn resume_accepting(&mut self, key: Key) {
        let Some(accepting) = self.listeners.get_mut(key) else { return };
        accepting.paused = false;
        self.watch_listener(key, true);
        self.accept(key);
    }

    fn watch_listener(&mut self, key: Key, watched: bool) {
        let Some(accepting) = self.listeners.get_mut(key) else { return };
        if let Err(error) = self.poller.watch_listener(&*accepting.listener, encode(key, LISTENER), watched) {
            tracing::error!(address = %accepting.binding.address, %error, "epoll_ctl failed at a listener");
        }
    }

    fn begin(&mut self, stream: Stream, client: SocketAddr, binding: Rc<Binding>) {
        let destination = binding.destination(&stream);
        let ruled = match inspect::admit(client, destination, &binding, self.now) {
            Ok(ruled) => ruled,
            Err(denial) => {
                binding.service.stats.count_end(inspect::turn_away(&stream, denial));
                return binding.service.leave();
            }
        };
        let key = self.connections.next_key();
        let registered = self.poller.add_stream(&stream, token(key, Side::Client), false);
        let connection = Connection::new(stream, [client, destination], binding, ruled, self.now);
        self.connections.insert(Box::new(connection));
        match registered {
            Ok(()) => self.with_connection(key, |connection, context| connection.begin(context)),
            Err(_) => self.end(key, EndReason::Resources, Reset::Client),
        }
    }

    /// Listeners that wait try again when there is room, and anyway after a while.
    pub(super) fn accept_more(&mut self) {
        let room = self.mailbox.take_resume() && !self.shortages.now;
        if !room && self.retry_at.is_none_or(|at| self.now < at) {
            return;
        }
        self.shortages.now = false;
        self.retry_at = None;
        for key in std::mem::take(&mut self.paused) {
            self.resume_accepting(key);
        }
    }

    /// Who still waits to be accepted has lost its address like those that were: as many as a queue may hold.
    pub(super) fn accept_waiting(&mut self) {
        for key in self.listeners.keys(|accepting| !accepting.paused) {
            self.accept_most(key, LONGEST_QUEUE);
        }
    }

    /// Closing a listener resets what waits there: so it is accepted first, whatever the limits say. Not for ever: as many as
    /// can have waited.
    pub(super) fn unlisten(&mut self, id: u64) {
        let Some(accepting) = self.listeners_by_id.remove(&id).and_then(|key| self.listeners.remove(key)) else {
            return;
        };
        for _ in 0..=accepting.binding.service.spec.backlog {
            let Ok(Some((stream, client))) = accepting.listener.accept() else { break };
            let service = &accepting.binding.service;
            service.enter_anyway();
            service.stats.accepted.fetch_add(1, Ordering::Relaxed);
            self.begin(stream, client, Rc::clone(&accepting.binding));
        }
        // The control thread may hold the descriptor for a moment longer.
        let _gone = self.poller.remove(&*accepting.listener);
        tracing::debug!(id = accepting.id, address = %accepting.binding.address, "listener closed");
    }

    pub(super) fn close_listeners(&mut self) {
        while let Some((_, id, farewell)) = self.leaving.pop_front_if(|(at, ..)| *at <= self.now) {
            if farewell.is_final() {
                self.unlisten(id);
            }
        }
    }
}
