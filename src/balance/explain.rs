//! Why this server? Answered by the code that decides, on a copy of whose turn it is.

use std::time::Instant;

use super::choice::{Standing, Why};
use super::pool::{Pool, Refusal, Request};
use super::sticky::Remembered;

/// What would happen to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The server it would get, and why; or why none.
    pub decision: Result<(String, Why), Refusal>,
    /// The server that is remembered for its client, whether it can serve or not.
    pub remembered: Option<String>,
    /// Where a refusal means waiting: for this server, among so many; none: for any.
    pub waits_for: Option<String>,
    /// Every server with what may be done with it.
    pub servers: Vec<(String, Standing)>,
}

impl Pool {
    /// What [`Pool::select`] would say, without any effect.
    pub fn explain(&mut self, request: &Request<'_>, loads: impl Fn(usize) -> u64, now: Instant) -> Explanation {
        let turns = self.turns.clone();
        let decision = self.decide(request, &loads, now);
        self.turns = turns;
        let name = |id| self.positions.get(&id).map(|&position| self.candidates[position].name.clone());
        let waits_for = match decision {
            Err(Refusal::Full { server: Some(server) }) => name(server),
            Ok(_) | Err(Refusal::Full { server: None } | Refusal::NoneUp | Refusal::Excluded) => None,
        };
        let standings = (0..self.candidates.len())
            .map(|position| (self.candidates[position].name.clone(), self.standing(position, request, &loads, now)));
        let servers = standings.collect();
        let decision = decision.map(|decision| (self.candidates[decision.position].name.clone(), decision.why));
        let remembered = self.stick_table().and_then(|_| self.known(request, now));
        let remembered = remembered.and_then(|Remembered { server, .. }| {
            self.positions.get(&server).map(|&position| self.candidates[position].name.clone())
        });
        Explanation { decision, remembered, waits_for, servers }
    }
}
