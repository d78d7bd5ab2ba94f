//! What is known of a peer's process. Pure: it is told what happened to the session and says what that means and what
//! to try next.

use std::time::Duration;

use super::greeting::Instance;

/// Without a peer of ours there: soon for a while, since it may be about to start, then now and then.
const SOON: Duration = Duration::from_secs(1);
const SELDOM: Duration = Duration::from_secs(10);
/// Between attempts to learn what became of a lost session; enough of them to get through when half of the packets
/// are lost.
const PRESSING: Duration = Duration::from_millis(50);
const PRESSING_ATTEMPTS: u32 = 10;
const SOON_ATTEMPTS: u32 = 10;
/// For the answer to a pressing attempt, and to any other.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(1);

/// What happened to the session, or to the attempt at one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// A peer of ours greeted.
    Greeted(Instance),
    /// The peer's kernel said that nobody listens there.
    Refused,
    /// No answer, or none that says anything about the process.
    Unanswered,
    /// The session ended.
    Ended(End),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer said goodbye.
    Goodbye,
    /// The peer's kernel closed it.
    Closed,
    /// It broke: reset, timed out, or spoke nonsense.
    Broken,
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// There is a session: from now on a death is noticed.
    Connected,
    /// The process that greeted is dead.
    Died,
    /// There is no session any more: the peer said goodbye, or does not answer at all.
    Gone,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for the session to end.
    Stay,
    /// Connect after `delay`; without an answer for `patience` there is none.
    Connect { delay: Duration, patience: Duration },
}

/// What is known of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing of a process of ours.
    Absent { attempts: u32 },
    /// There is a session with this process.
    Up(Instance),
    /// There was one: is the process dead, or only the session?
    Lost { instance: Instance, end: End, attempts: u32 },
}

impl Standing {
    /// At first.
    pub(super) const BEGIN: (Self, Next) =
        (Self::Absent { attempts: 0 }, Next::Connect { delay: Duration::ZERO, patience: PATIENCE });

    /// Takes in what happened.
    #[must_use]
    pub(super) fn handle(&mut self, happening: Happening) -> (&'static [News], Next) {
        let (standing, news, next): (Self, &[News], Next) = match (*self, happening) {
            (Self::Absent { .. }, Happening::Greeted(instance)) => (Self::Up(instance), &[News::Connected], Next::Stay),
            (Self::Absent { attempts }, Happening::Refused | Happening::Unanswered | Happening::Ended(_)) => {
                let attempts = attempts.saturating_add(1);
                (Self::Absent { attempts }, &[], later(attempts))
            }
            (Self::Up(instance), Happening::Ended(end @ (End::Closed | End::Broken))) => {
                let at_once = Next::Connect { delay: Duration::ZERO, patience: SHORT_PATIENCE };
                (Self::Lost { instance, end, attempts: 0 }, &[], at_once)
            }
            (Self::Up(_), Happening::Ended(End::Goodbye)) => (Self::Absent { attempts: 0 }, &[News::Gone], later(0)),
            // No attempt is made while a session is up.
            (Self::Up(_), Happening::Greeted(_) | Happening::Refused | Happening::Unanswered) => {
                (*self, &[], Next::Stay)
            }
            // A firewall or an administrator ended the session, or a partition healed.
            (Self::Lost { instance, attempts, .. }, Happening::Greeted(same)) if same == instance => {
                let was_told = attempts >= PRESSING_ATTEMPTS;
                (Self::Up(same), if was_told { &[News::Connected] } else { &[] }, Next::Stay)
            }
            // Started anew within milliseconds: the one we knew is dead.
            (Self::Lost { end: End::Closed, .. }, Happening::Greeted(other)) => {
                (Self::Up(other), &[News::Died, News::Connected], Next::Stay)
            }
            // Nobody closed it: it died long ago, with its machine, and only now a packet told us.
            (Self::Lost { end: End::Broken | End::Goodbye, .. }, Happening::Greeted(other)) => {
                (Self::Up(other), &[News::Connected], Next::Stay)
            }
            (Self::Lost { .. }, Happening::Refused) => (Self::Absent { attempts: 0 }, &[News::Died], later(0)),
            // Silence says nothing about the process: the down interval decides.
            (Self::Lost { instance, end, attempts }, Happening::Unanswered | Happening::Ended(_)) => {
                let attempts = attempts.saturating_add(1);
                let lost = Self::Lost { instance, end, attempts };
                let press = Next::Connect { delay: PRESSING, patience: SHORT_PATIENCE };
                match attempts {
                    ..PRESSING_ATTEMPTS => (lost, &[], press),
                    PRESSING_ATTEMPTS => (lost, &[News::Gone], later(0)),
                    _ => (lost, &[], later(attempts)),
                }
            }
        };
        *self = standing;
        (news, next)
    }
}

fn later(attempts: u32) -> Next {
    let delay = if attempts < SOON_ATTEMPTS { SOON } else { SELDOM };
    Next::Connect { delay, patience: PATIENCE }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Instance = Instance(1);
    const TWO: Instance = Instance(2);

    fn told(happenings: &[Happening]) -> (Vec<News>, Next) {
        let (mut standing, mut next) = Standing::BEGIN;
        let mut all = Vec::new();
        for happening in happenings {
            let (news, then) = standing.handle(*happening);
            all.extend_from_slice(news);
            next = then;
        }
        (all, next)
    }

    use Happening::{Ended, Greeted, Refused, Unanswered};
    use News::{Connected, Died, Gone};

    #[test]
    fn refused_after_a_session_is_death() {
        for end in [End::Closed, End::Broken] {
            assert_eq!(told(&[Greeted(ONE), Ended(end), Refused]).0, [Connected, Died]);
            assert_eq!(told(&[Greeted(ONE), Ended(end), Unanswered, Refused]).0, [Connected, Died]);
        }
    }

    #[test]
    fn refused_without_a_session_is_nothing() {
        assert_eq!(told(&[Refused; 30]).0, []);
        assert_eq!(told(&[Refused]).1, later(0));
        assert_eq!(told(&[Refused; 30]).1, later(SOON_ATTEMPTS), "seldom, in the end");
        assert_eq!(told(&[Greeted(ONE), Ended(End::Goodbye), Refused]).0, [Connected, Gone]);
        assert_eq!(told(&[Greeted(ONE), Ended(End::Closed), Refused, Refused]).0, [Connected, Died], "told once");
    }

    #[test]
    fn a_session_that_is_there_again_is_no_death() {
        for end in [End::Closed, End::Broken] {
            assert_eq!(told(&[Greeted(ONE), Ended(end), Greeted(ONE)]), (vec![Connected], Next::Stay));
        }
    }

    #[test]
    fn another_process_in_its_place_is_death_if_just_now() {
        assert_eq!(told(&[Greeted(ONE), Ended(End::Closed), Greeted(TWO)]).0, [Connected, Died, Connected]);
        assert_eq!(told(&[Greeted(ONE), Ended(End::Broken), Greeted(TWO)]).0, [Connected, Connected]);
    }

    #[test]
    fn silence_is_asked_again_at_once_and_then_left_to_the_down_interval() {
        let lost = [Greeted(ONE), Ended(End::Closed)];
        let at_once = Next::Connect { delay: Duration::ZERO, patience: SHORT_PATIENCE };
        assert_eq!(told(&lost), (vec![Connected], at_once));
        let silent = |count| [&lost[..], &vec![Unanswered; count]].concat();
        assert_eq!(told(&silent(9)), (vec![Connected], Next::Connect { delay: PRESSING, patience: SHORT_PATIENCE }));
        assert_eq!(told(&silent(10)), (vec![Connected, Gone], later(0)));
        assert_eq!(told(&silent(100)), (vec![Connected, Gone], later(100)));
        assert_eq!(told(&[silent(100), vec![Refused]].concat()).0, [Connected, Gone, Died], "dead all the same");
        assert_eq!(told(&[silent(10), vec![Greeted(ONE)]].concat()).0, [Connected, Gone, Connected]);
    }
}
