//! Numbered places with generations: an event or a timer of a connection that is gone never reaches its successor.

/// A place's number and generation, in one word that the kernel can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Values by number. Boxed, so that an empty place costs 16 bytes and the table can grow without moving them.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<Box<T>>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.places.len()
    }

    /// The key that the next [`Slab::insert`] will return.
    pub(super) fn next_key(&self) -> Key {
        match self.free.last() {
            Some(&index) => Key { index, generation: self.places[index as usize].generation },
            None => Key { index: self.places.len() as u32, generation: 0 },
        }
    }

    pub(super) fn insert(&mut self, value: Box<T>) -> Key {
        let key = self.next_key();
        match self.free.pop() {
            Some(index) => self.places[index as usize].value = Some(value),
            None => self.places.push(Place { generation: 0, value: Some(value) }),
        }
        key
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        if place.generation == key.generation { place.value.as_deref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.value.as_deref_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Box<T>> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// All values with their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.value.as_deref().map(|value| (key, value))
        })
    }

    /// The keys of all values for which `matches` holds.
    pub(super) fn keys(&self, matches: impl Fn(&T) -> bool) -> Vec<Key> {
        self.iter().filter(|(_, value)| matches(value)).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_reused_has_another_key() {
        let mut slab = Slab::new();
        let announced = slab.next_key();
        let first = slab.insert(Box::new("first"));
        assert_eq!(announced, first);
        assert_eq!(slab.remove(first).as_deref(), Some(&"first"));
        let second = slab.insert(Box::new("second"));
        assert_eq!((second.index, second.generation), (first.index, first.generation + 1));
        assert!(slab.get_mut(first).is_none() && slab.remove(first).is_none());
        assert_eq!(slab.get_mut(second).as_deref(), Some(&"second"));
        assert_eq!(slab.keys(|value| value.starts_with('s')), [second]);
    }
}
