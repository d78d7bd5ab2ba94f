//! Collections that are shared with those who ask, and still changed at little cost: they are made of pieces, and whoever
//! changes one entry of a hundred thousand copies its piece and the list of the pieces. What nobody else has is not copied.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;

/// Pieces of a collection by key.
const PIECES: usize = 256;
/// Numbers in a piece of a collection by number.
const PIECE: u64 = 256;

/// Numbers of entries by what they have in common.
#[derive(Debug, Clone)]
pub(super) struct ByKey<K> {
    hasher: RandomState,
    pieces: Vec<Arc<HashMap<K, Numbers>>>,
}

/// Ascending. Most keys have one, which needs no memory of its own.
#[derive(Debug, Clone)]
struct Numbers {
    first: u64,
    others: Vec<u64>,
}

/// Values by the numbers of entries, in their order.
#[derive(Debug, Clone)]
pub(super) struct ByNumber<T>(BTreeMap<u64, Arc<BTreeMap<u64, T>>>);

impl<K> Default for ByKey<K> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), pieces: vec![Arc::default(); PIECES] }
    }
}

impl<K: Hash + Eq + Clone> ByKey<K> {
    /// The lowest number of a key.
    pub(super) fn first<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<u64>
    where
        K: Borrow<Q>,
    {
        self.numbers(key).map(|numbers| numbers.first)
    }

    /// All numbers of a key, ascending.
    pub(super) fn all<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Vec<u64>
    where
        K: Borrow<Q>,
    {
        self.numbers(key).map_or_else(Vec::new, |numbers| [&[numbers.first], numbers.others.as_slice()].concat())
    }

    /// Adds a number that is higher than those of its key.
    pub(super) fn push(&mut self, key: K, number: u64) {
        let numbers = self.piece(&key).entry(key);
        numbers
            .and_modify(|numbers| numbers.others.push(number))
            .or_insert_with(|| Numbers { first: number, others: Vec::new() });
    }

    /// Cheapest for the highest of a key.
    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, number: u64)
    where
        K: Borrow<Q>,
    {
        let piece = self.piece(key);
        let Some(numbers) = piece.get_mut(key) else { return };
        if numbers.first != number {
            if let Ok(place) = numbers.others.binary_search(&number) {
                numbers.others.remove(place);
            }
        } else if numbers.others.is_empty() {
            piece.remove(key);
        } else {
            numbers.first = numbers.others.remove(0);
        }
    }

    fn numbers<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&Numbers>
    where
        K: Borrow<Q>,
    {
        self.pieces[self.place(key)].get(key)
    }

    fn piece(&mut self, key: &(impl Hash + ?Sized)) -> &mut HashMap<K, Numbers> {
        let place = self.place(key);
        Arc::make_mut(&mut self.pieces[place])
    }

    fn place(&self, key: &(impl Hash + ?Sized)) -> usize {
        self.hasher.hash_one(key) as usize % PIECES
    }
}

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Clone> ByNumber<T> {
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.0.get(&(number / PIECE))?.get(&number)
    }

    pub(super) fn insert(&mut self, number: u64, value: T) {
        Arc::make_mut(self.0.entry(number / PIECE).or_default()).insert(number, value);
    }

    pub(super) fn remove(&mut self, number: u64) {
        let Some(piece) = self.0.get_mut(&(number / PIECE)) else { return };
        let piece = Arc::make_mut(piece);
        piece.remove(&number);
        if piece.is_empty() {
            self.0.remove(&(number / PIECE));
        }
    }

    /// With their numbers, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.0.values().flat_map(|piece| piece.iter()).map(|(number, value)| (*number, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_copy_sees_no_change_and_one_change_copies_one_piece() {
        let mut texts = ByKey::<Box<str>>::default();
        let mut values = ByNumber::default();
        for number in 1..5000 {
            texts.push(format!("key {}", number % 2500).into(), number);
            values.insert(number, number);
        }
        let (texts_before, values_before) = (texts.clone(), values.clone());
        texts.remove("key 7", 7);
        texts.push("key new".into(), 5000);
        texts.push("key new".into(), 5001);
        values.remove(7);
        values.insert(8, 0);
        assert_eq!((texts_before.all("key 7"), texts_before.first("key new")), (vec![7, 2507], None));
        assert_eq!((texts.all("key 7"), texts.all("key new")), (vec![2507], vec![5000, 5001]));
        assert_eq!((values_before.get(7), values_before.get(8)), (Some(&7), Some(&8)));
        assert_eq!((values.get(7), values.get(8)), (None, Some(&0)));
        assert_eq!(
            values.iter().map(|(number, _)| number).collect::<Vec<_>>(),
            [(1..7), (8..5000)].into_iter().flatten().collect::<Vec<_>>()
        );
        let copied = |(one, other): (&Arc<_>, &Arc<_>)| !Arc::ptr_eq(one, other);
        assert!(texts.pieces.iter().zip(&texts_before.pieces).map(copied).filter(|copied| *copied).count() <= 2);
        let pieces = values.0.values().zip(values_before.0.values());
        assert_eq!(pieces.filter(|(one, other)| !Arc::ptr_eq(one, other)).count(), 1);
        texts.remove("key new", 5001);
        texts.remove("key new", 5000);
        assert_eq!(texts.first("key new"), None);
    }
}
