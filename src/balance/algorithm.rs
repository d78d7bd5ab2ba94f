//! Round robin, least connections and random draws over servers given by weight.

/// Where the algorithms stand. A copy of it decides like the original, and changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    /// Round robin.
    pub round_robin: RoundRobin,
    /// Least connections.
    pub least: LeastConnections,
    /// Random draws.
    pub random: Random,
}

/// Smooth weighted round robin: each turn a server gains its weight, the richest is chosen and pays the sum of all. Equal
/// weights go in order; 5, 1, 1 goes a a b a c a a.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoundRobin {
    credits: Vec<i64>,
}

/// Fewest connections relative to weight, ties in turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeastConnections {
    last: Option<usize>,
}

/// The one of several drawn by weight that has the fewest connections relative to weight ("power of two choices"). The
/// sequence is a function of the seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl RoundRobin {
    /// The servers are others now: each one's position among the former ones, if it was there. Turns go on.
    pub fn rearrange(&mut self, former: &[Option<usize>]) {
        let credit = |position: &Option<usize>| position.and_then(|position| self.credits.get(position));
        self.credits = former.iter().map(|position| credit(position).copied().unwrap_or(0)).collect();
    }

    /// A server left or came back: it starts without savings or debts.
    pub fn forget(&mut self, position: usize) {
        if let Some(credit) = self.credits.get_mut(position) {
            *credit = 0;
        }
    }

    /// The next server of positive weight, as `weight` gives it for each position.
    pub fn select(&mut self, weight: impl Fn(usize) -> u64) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for index in 0..self.credits.len() {
            let weight = i64::try_from(weight(index)).unwrap_or(i64::MAX);
            if weight == 0 {
                continue;
            }
            total += weight;
            self.credits[index] += weight;
            if best.is_none_or(|best| self.credits[index] > self.credits[best]) {
                best = Some(index);
            }
        }
        self.credits[best?] -= total;
        best
    }
}

impl LeastConnections {
    /// The server of positive weight with the lowest load by weight, of `servers`.
    pub fn select(
        &mut self,
        servers: usize,
        weight: impl Fn(usize) -> u64,
        load: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        let start = self.last.map_or(0, |last| last + 1);
        let mut best: Option<(usize, u64, u64)> = None;
        for index in (0..servers).map(|step| (start + step) % servers) {
            let weight = weight(index);
            if weight == 0 {
                continue;
            }
            let load = load(index);
            // load / weight < best load / best weight, without division.
            if best.is_none_or(|(_, best_load, best_weight)| load * best_weight < best_load * weight) {
                best = Some((index, load, weight));
            }
        }
        self.last = best.map(|(index, ..)| index).or(self.last);
        best.map(|(index, ..)| index)
    }
}

impl Random {
    /// Draws as this seed has it.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Of `draws` servers of positive weight, the one with the lowest load by weight; the first drawn when they tie.
    pub fn select(
        &mut self,
        servers: usize,
        draws: u32,
        weight: impl Fn(usize) -> u64,
        load: impl Fn(usize) -> u64,
    ) -> Option<usize> {
        let total: u64 = (0..servers).map(&weight).sum();
        if total == 0 {
            return None;
        }
        let mut best: Option<(usize, u64, u64)> = None;
        for _ in 0..draws.max(1) {
            let Some(index) = at_weight(self.next() % total, servers, &weight) else { continue };
            let (load, weight) = (load(index), weight(index));
            if best.is_none_or(|(_, best_load, best_weight)| load * best_weight < best_load * weight) {
                best = Some((index, load, weight));
            }
        }
        best.map(|(index, ..)| index)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The server in whose share of the sum of all weights `point` lies.
pub(super) fn at_weight(mut point: u64, servers: usize, weight: impl Fn(usize) -> u64) -> Option<usize> {
    (0..servers).find(|&index| {
        let weight = weight(index);
        let inside = point < weight;
        point = point.saturating_sub(weight);
        inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_robin(weights: &[u64], turns: usize) -> Vec<usize> {
        let mut state = RoundRobin::default();
        state.rearrange(&vec![None; weights.len()]);
        (0..turns).filter_map(|_| state.select(|index| weights[index])).collect()
    }

    #[test]
    fn equal_weights_go_in_order() {
        assert_eq!(round_robin(&[100, 100, 100], 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn heavier_servers_come_more_often_and_evenly_spread() {
        assert_eq!(round_robin(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
        let turns = round_robin(&[256, 128, 1], 385);
        let count = |server| turns.iter().filter(|&&turn| turn == server).count();
        assert_eq!((count(0), count(1), count(2)), (256, 128, 1));
    }

    #[test]
    fn weight_zero_has_no_turn() {
        assert_eq!(round_robin(&[0, 1, 0], 2), [1, 1]);
        assert_eq!(round_robin(&[0, 0], 2), Vec::<usize>::new());
        assert_eq!(round_robin(&[], 2), Vec::<usize>::new());
    }

    #[test]
    fn least_connections_takes_the_lowest_load_by_weight_and_ties_in_turn() {
        let mut state = LeastConnections::default();
        let mut loads = [0_u64; 3];
        let weights = [1, 1, 2];
        let order: Vec<_> = (0..8)
            .map(|_| {
                let chosen = state.select(3, |index| weights[index], |index| loads[index]).unwrap();
                loads[chosen] += 1;
                chosen
            })
            .collect();
        assert_eq!(order[..3], [0, 1, 2]);
        assert_eq!(loads, [2, 2, 4]);

        let idle: Vec<_> = (0..4).map(|_| state.select(3, |_| 7, |_| 0).unwrap()).collect();
        assert!(idle.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 3), "{idle:?}");
        assert_eq!(state.select(3, |_| 0, |_| 0), None);
    }

    #[test]
    fn random_draws_follow_weights_and_avoid_the_loaded() {
        let mut state = Random::seeded(7);
        let mut chosen = [0; 3];
        for _ in 0..3000 {
            chosen[state.select(3, 1, |index| [1, 2, 0][index], |_| 0).unwrap()] += 1;
        }
        assert!((900..1100).contains(&chosen[0]) && chosen[2] == 0, "{chosen:?}");
        let mut loads = [0_u64; 10];
        for _ in 0..1000 {
            loads[state.select(10, 2, |_| 1, |index| loads[index]).unwrap()] += 1;
        }
        assert!(loads.iter().all(|load| (97..=103).contains(load)), "{loads:?}");
        assert_eq!(state.select(3, 2, |_| 0, |_| 0), None);
    }

    #[test]
    fn a_copy_decides_like_the_original() {
        let original = Random::seeded(1);
        let sequence = |mut random: Random| -> Vec<_> {
            (0..20).map(|_| random.select(9, 2, |_| 1, |index| index as u64).unwrap()).collect()
        };
        assert_eq!(sequence(original.clone()), sequence(original));
    }
}
