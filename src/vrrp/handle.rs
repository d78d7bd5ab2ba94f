//! Every role meets every event here, written out.

use std::time::Instant;

use super::leaving::Cause;
use super::timers::Timer;
use super::{Event, Heard, Reason, Role, Router};

impl Router {
    /// Takes an event.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match (self.role, event) {
            (_, Event::Advert(heard)) => self.hear(heard, now),

            (_, Event::LinkUp) => {
                self.link_up = true;
                self.review(Reason::LinkUp, now);
            }
            (_, Event::LinkDown) => {
                self.link_up = false;
                self.review(Reason::LinkUp, now);
            }
            (role, Event::LocalAddress(address)) => {
                let changed = std::mem::replace(&mut self.local, address) != address;
                self.review(Reason::LocalAddress, now);
                // Others compare and show the source: the new one is told at once.
                if changed && address.is_some() && role == Role::Master {
                    self.advertise(now);
                }
            }
            (_, Event::PathAddresses(addresses)) => {
                self.path_addresses = addresses;
                self.review(Reason::LocalAddress, now);
            }

            (_, Event::Ready(ready)) => self.tell(|told| told.ready = ready, now),
            (_, Event::Tracked(effect)) => self.tell(|told| told.tracked = effect, now),
            (_, Event::Freeze(frozen)) => self.freeze(frozen, now),
            (_, Event::SetPriority(priority)) => self.set_priority(priority, now),
            (_, Event::Grouped(grouped)) => self.set_grouped(grouped, now),

            (Role::Master, Event::Handover) => self.leave(Cause::Handover, now),
            (Role::Initialize | Role::Backup | Role::Leaving | Role::Fault, Event::Handover) => {}

            (Role::Master, Event::Contested) => {
                if !self.frozen {
                    self.leave(Cause::Contested, now);
                }
            }
            (Role::Initialize | Role::Backup | Role::Leaving | Role::Fault, Event::Contested) => {}

            (Role::Master, Event::Stop) => self.leave(Cause::Stop, now),
            (Role::Leaving, Event::Stop) => self.stop_leaving(now),
            (Role::Backup | Role::Fault, Event::Stop) => self.end(Reason::Stopped),
            (Role::Initialize, Event::Stop) => {}

            (Role::Leaving, Event::SuccessorAnnounced(address)) => self.successor_announced(address, now),
            (Role::Initialize | Role::Backup | Role::Master | Role::Fault, Event::SuccessorAnnounced(_)) => {}

            (Role::Backup, Event::PeerDied(address)) => self.master_died(address, now),
            (Role::Leaving, Event::PeerDied(address)) => self.successor_died(address, now),
            (Role::Initialize | Role::Master | Role::Fault, Event::PeerDied(_)) => {}

            (Role::Master, Event::Reconfigure(config)) => self.reconfigure_master(*config, now),
            (Role::Backup, Event::Reconfigure(config)) => self.reconfigure_backup(*config, now),
            (Role::Leaving, Event::Reconfigure(config)) => self.reconfigure_leaving(*config),
            (Role::Initialize | Role::Fault, Event::Reconfigure(config)) => self.config = *config,
            (_, Event::Move { config, local, link_up }) => self.move_to(*config, local, link_up, now),

            (Role::Master, Event::Woke { late_by }) => {
                // Its last advert was an interval older.
                if late_by + self.config.interval.as_duration() > self.down_interval() {
                    self.leave(Cause::Overslept, now);
                }
            }
            (Role::Backup | Role::Leaving, Event::Woke { late_by }) => self.listen_first(late_by, now),
            (Role::Initialize | Role::Fault, Event::Woke { .. }) => {}
        }
    }

    /// Takes the passing of time: call it at [`next_deadline`](Self::next_deadline) or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((timer, deadline)) = self.timers.expire(now) {
            match (timer, self.role) {
                (Timer::MasterDown, Role::Backup) => self.claim(self.cause.clone(), now),
                (Timer::MasterDown, Role::Leaving) => self.claim(Reason::NoSuccessor, now),
                (Timer::Advert, Role::Master) => {
                    self.advertise(now);
                    // Counted from the deadline, not from the waking: lateness does not add up.
                    let next = deadline + self.config.interval.as_duration();
                    if next > now {
                        self.timers.set(Timer::Advert, next);
                    }
                }
                (Timer::Answer, Role::Master) => self.answer_now(now),
                (Timer::Repeat, Role::Master) => self.announce(self.repeat_count),
                (Timer::Refresh, Role::Master) => {
                    self.announce(self.config.announce.refresh_count);
                    self.start_refresh(now);
                }
                (Timer::Release, Role::Leaving) => self.release_time_is_up(now),
                // Every change of role stops the timers of the old one.
                (Timer::MasterDown, Role::Initialize | Role::Master | Role::Fault)
                | (
                    Timer::Advert | Timer::Answer | Timer::Repeat | Timer::Refresh,
                    Role::Initialize | Role::Backup | Role::Leaving | Role::Fault,
                )
                | (Timer::Release, Role::Initialize | Role::Backup | Role::Master | Role::Fault) => {}
            }
        }
    }

    fn hear(&mut self, heard: Heard, now: Instant) {
        self.remember_stamp(heard);
        self.listens = false;
        match self.role {
            // Stopped, or deaf: what still waits in the socket's queue is from before.
            Role::Initialize | Role::Fault => return,
            Role::Backup => self.hear_as_backup(heard, now),
            Role::Master => self.hear_as_master(heard, now),
            Role::Leaving => self.hear_while_leaving(heard, now),
        }
        self.heard = Some(now);
    }
}
