//! Routers that are master together or not at all (keepalived's `vrrp_sync_group`).
//!
//! The members elect as any router does, each on its segment, but none acts alone:
//!
//! - **Fault.** One in fault takes all to fault; those that were master say priority 0 first.
//! - **Readiness.** One that is not ready makes all advertise priority 1, an owner's 255 included.
//! - **Loss.** When one gives way to a better master or begins to leave, all leave: priority 0 on every segment, so that
//!   the other node's members follow within their skew time.
//! - **Mastership.** One whose master has gone (priority 0, a dead process) makes all master at once. So does one whose
//!   master is silent or is to be preempted, unless another member still follows a living master, that is one heard
//!   within two intervals. A segment that is cut in two thus leaves the group where it is: the half that hears nothing
//!   would be master there in vain, since on the other segments the better node answers.
//!   `preempt_delay`, `nopreempt` and a hand-over hold back the whole group for the same reason.
//!
//! Trackers of the group count for each member: [`effect_in_group`](super::tracking::effect_in_group).

use std::sync::Arc;
use std::time::Instant;

use super::leaving::Cause;
use super::timers::Timer;
use super::{Reason, Role, Router, TakeOverRefused};

/// A sync group: what it remembers beside its members, which the shell owns.
#[derive(Debug, Clone)]
pub struct Group {
    name: Arc<str>,
    /// Its members as of the last call, by name.
    known: Vec<String>,
    /// They were master then.
    is_master: bool,
}

impl Group {
    /// A group whose members are still to come.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), known: Vec::new(), is_master: false }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether all its members are master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.is_master
    }

    /// Makes the members agree. Call it with all of them (made with [`Start::grouped`](super::Start)) after every
    /// `handle` and `handle_timeout` of one, then drain the actions of all. One that ends is a member no more.
    pub fn settle(&mut self, members: &mut [&mut Router], now: Instant) {
        let mut members: Vec<&mut Router> = members
            .iter_mut()
            .map(|member| &mut **member)
            .filter(|member| member.role != Role::Initialize && !member.is_stopping())
            .collect();
        self.share_fault(&mut members, now);
        share_readiness(&mut members, now);
        self.share_loss(&mut members, now);
        self.share_mastership(&mut members, now);
        self.known = members.iter().map(|member| member.config.name.clone()).collect();
        self.is_master = !members.is_empty() && members.iter().all(|member| member.role == Role::Master);
    }

    /// All members become master now, as [`Router::take_over`] has it; or none, if one of them cannot.
    pub fn take_over(&mut self, members: &mut [&mut Router], now: Instant) -> Result<(), TakeOverRefused> {
        let priorities: Vec<_> =
            members.iter().map(|member| member.takeover_priority()).collect::<Result<_, TakeOverRefused>>()?;
        for (member, priority) in members.iter_mut().zip(priorities) {
            member.take_over_with(priority, Reason::TakeOver, now);
        }
        self.settle(members, now);
        Ok(())
    }

    fn share_fault(&self, members: &mut [&mut Router], now: Instant) {
        let broken: Vec<Arc<str>> =
            members.iter().filter(|member| member.own_obstacle().is_some()).map(|member| name_of(member)).collect();
        for member in members {
            let other = broken.iter().find(|name| ***name != member.config.name);
            let fault = other.map(|other| Reason::GroupFault { group: self.name.clone(), member: other.clone() });
            if member.group_fault != fault {
                member.group_fault = fault;
                member.review(Reason::GroupRecovered { group: self.name.clone() }, now);
            }
        }
    }

    fn share_loss(&mut self, members: &mut [&mut Router], now: Instant) {
        if !self.is_master {
            return;
        }
        let lost = |member: &&&mut Router| member.role != Role::Master && self.known.contains(&member.config.name);
        let Some(loser) = members.iter().find(lost) else { return };
        let cause = loser.leaving.as_ref().map_or(Cause::Group, |leaving| leaving.cause);
        let reason = match cause {
            Cause::Group => Reason::GroupBackup { group: self.name.clone(), member: name_of(loser) },
            Cause::Handover | Cause::Contested | Cause::NotReady | Cause::Stop | Cause::Overslept => loser.reason(),
        };
        for member in members.iter_mut().filter(|member| member.role == Role::Master) {
            member.leave_for(cause, reason.clone(), now);
        }
    }

    fn share_mastership(&self, members: &mut [&mut Router], now: Instant) {
        let master = members.iter().find(|member| member.role == Role::Master);
        let leader = match master {
            Some(master) => name_of(master),
            None => {
                let Some(candidate) = members.iter().find(|member| member.candidate.is_some()) else { return };
                let name = name_of(candidate);
                if let Some((holder, until)) = holds_back(members, now) {
                    return self.wait(members, &holder, until, now);
                }
                name
            }
        };
        for member in members.iter_mut().filter(|member| matches!(member.role, Role::Backup | Role::Leaving)) {
            let follows = || Reason::GroupMaster { group: self.name.clone(), member: leader.clone() };
            let reason = member.candidate.take().unwrap_or_else(follows);
            member.promote(reason, now);
        }
    }

    /// The candidates ask again at `until`; one that was leaving gives up.
    fn wait(&self, members: &mut [&mut Router], holder: &Arc<str>, until: Instant, now: Instant) {
        for member in members {
            if member.candidate.take().is_none() {
                continue;
            }
            if member.role == Role::Backup {
                member.timers.set(Timer::MasterDown, until);
            } else {
                let reason = Reason::GroupBackup { group: self.name.clone(), member: holder.clone() };
                member.become_backup(reason, now);
            }
        }
    }
}

fn share_readiness(members: &mut [&mut Router], now: Instant) {
    let ready = members.iter().all(|member| member.told.ready);
    for member in members.iter_mut().filter(|member| member.told.group_ready != ready) {
        member.tell(|told| told.group_ready = ready, now);
    }
}

/// Which member keeps the candidates from becoming master, and until when.
fn holds_back(members: &[&mut Router], now: Instant) -> Option<(Arc<str>, Instant)> {
    let has_gone = |reason: &Reason| matches!(reason, Reason::MasterLeft { .. } | Reason::MasterDied { .. });
    let gone = members.iter().filter_map(|member| member.candidate.as_ref()).any(has_gone);
    members
        .iter()
        .filter(|member| member.candidate.is_none())
        .filter_map(|member| {
            let frozen = member.frozen.then(|| now + member.down_interval());
            let follows = member.followed.map(|at| at + member.master_interval.as_duration() * 2).filter(|_| !gone);
            let until = frozen.max(member.quiet_until).max(follows).filter(|until| *until > now)?;
            Some((name_of(member), until))
        })
        .max_by_key(|(_, until)| *until)
}

fn name_of(member: &Router) -> Arc<str> {
    member.config.name.as_str().into()
}

impl Router {
    /// It joined a sync group, or is in none any more.
    pub(super) fn set_grouped(&mut self, grouped: bool, now: Instant) {
        self.grouped = grouped;
        if !grouped {
            self.group_fault = None;
            self.review(Reason::Recovered, now);
            self.tell(|told| told.group_ready = true, now);
        }
    }
}
