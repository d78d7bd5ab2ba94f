//! Lists of patterns, and of keys with values, which can be changed while connections ask them: a change makes a new index
//! of the list and publishes it, so that who asks never waits.

mod index;
mod pattern;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::model::list::{How, Kind, List, ListName, Lookup};
use crate::model::value::Value;
pub(super) use index::Index;
use pattern::Compiled;
pub(super) use pattern::value;
pub use pattern::{check, hex, network, number};

/// The lists of all rules. One value for the life of the process.
#[derive(Debug, Default)]
pub struct Lists(Mutex<Vec<Live>>);

/// A list as it is now.
#[derive(Debug)]
struct Live {
    name: ListName,
    number: u32,
    is_map: bool,
    entries: Vec<Entry>,
    uses: Vec<Use>,
    /// Of the entries that are asked; those of others wait until they are committed.
    current: u32,
    /// The newest that was prepared.
    newest: u32,
    next_entry: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    version: u32,
    key: String,
    value: String,
    /// For each of the uses.
    compiled: Vec<(Compiled, Value<'static>)>,
}

/// A way in which rules ask a list.
#[derive(Debug)]
struct Use {
    how: How,
    ignore_case: bool,
    values: Kind,
    index: Arc<ArcSwap<Index>>,
}

/// A list as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: ListName,
    /// It has values.
    pub is_map: bool,
    /// The version of what is asked.
    pub current: u32,
    /// The newest version that was prepared.
    pub newest: u32,
    /// Entries of all versions.
    pub count: usize,
}

/// An entry as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its own in its list.
    pub number: u64,
    /// The pattern.
    pub key: String,
    /// What it has for it.
    pub value: String,
}

/// What a key finds in one of the ways in which a list is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How patterns are compared.
    pub how: How,
    /// Upper and lower case are the same.
    pub ignore_case: bool,
    /// What the values are.
    pub values: Kind,
    /// The entry; none: no pattern fits.
    pub row: Option<Row>,
}

/// Which entries are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// Those of this pattern.
    Key(String),
    /// The one of this number.
    Number(u64),
}

/// Why a list was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// There is none of this name.
    #[error("there is no such list")]
    Unknown,
    /// It has no such entry.
    #[error("the list has no such entry")]
    NoEntry,
    /// A pattern is not one.
    #[error("{why}")]
    Pattern {
        /// How it would be compared.
        how: How,
        /// What it is.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A value is not of the kind that rules want.
    #[error("`{0}` is not a value of the kind that this list has")]
    Value(String),
    /// This version cannot be committed.
    #[error("there is no such version, or it is in force already")]
    Version,
    /// This version was not prepared.
    #[error("this version was not prepared yet")]
    Future,
}

impl Lists {
    /// What a configuration that comes into force has: what was changed since the lists were read is forgotten. Returns the
    /// lists that were there and are others now.
    pub fn load<'l>(&self, wanted: impl Iterator<Item = (&'l Lookup, Kind)>) -> Vec<ListName> {
        let mut old = std::mem::take(&mut *self.lock());
        let mut lists: Vec<Live> = Vec::new();
        let mut others = Vec::new();
        for (lookup, values) in wanted {
            let named = |live: &Live| live.name == lookup.list.name;
            let place = lists.iter().position(named).unwrap_or_else(|| {
                let known = old.iter().position(named);
                let mut live = known.map_or_else(|| Live::new(&lookup.list.name), |place| old.swap_remove(place));
                if live.reset(&lookup.list) && known.is_some() {
                    others.push(live.name.clone());
                }
                lists.push(live);
                lists.len() - 1
            });
            if let Some(live) = lists.get_mut(place) {
                live.is_map |= lookup.list.is_map;
                live.index(lookup, values);
            }
        }
        let given: Vec<u32> = lists.iter().filter_map(|live| live.given()).collect();
        let mut free = (0..).filter(|number| !given.contains(number));
        for live in &mut lists {
            live.number = live.given().or_else(|| free.next()).unwrap_or_default();
        }
        *self.lock() = lists;
        others
    }

    /// Where the list is published in the way in which it is looked up.
    pub(super) fn index(&self, lookup: &Lookup, values: Kind) -> Arc<ArcSwap<Index>> {
        let mut lists = self.lock();
        let place = lists.iter().position(|live| live.name == lookup.list.name).unwrap_or_else(|| {
            let mut live = Live::new(&lookup.list.name);
            live.reset(&lookup.list);
            live.is_map = lookup.list.is_map;
            lists.push(live);
            lists.len() - 1
        });
        lists.get_mut(place).map(|live| live.index(lookup, values)).unwrap_or_default()
    }

    /// Those with values, or those without.
    pub fn overview(&self, maps: bool) -> Vec<Overview> {
        let mut shown: Vec<_> =
            self.lock().iter().filter(|live| live.is_map == maps).map(|live| live.overview()).collect();
        shown.sort_by_key(|list| list.number);
        shown
    }

    /// The entries of a list; without a version, those that are asked.
    pub fn entries(&self, maps: bool, name: &str, version: Option<u32>) -> Result<Vec<Row>, ListError> {
        self.with(maps, name, |live| {
            let version = version.unwrap_or(live.current);
            Ok(live.entries.iter().filter(|entry| entry.version == version).map(Entry::row).collect())
        })
    }

    /// What a key finds, in each way in which rules ask the list.
    pub fn find(&self, maps: bool, name: &str, key: &str) -> Result<Vec<Finding>, ListError> {
        self.with(maps, name, |live| Ok(live.uses.iter().map(|one| live.finding(one, key)).collect()))
    }

    /// Adds entries, all of them or none.
    pub fn add(
        &self,
        maps: bool,
        name: &str,
        version: Option<u32>,
        entries: &[(String, String)],
    ) -> Result<(), ListError> {
        self.with(maps, name, |live| {
            let version = version.unwrap_or(live.current);
            if version > live.newest.max(live.current) {
                return Err(ListError::Future);
            }
            let new: Vec<Entry> =
                entries.iter().map(|(key, value)| live.entry(version, key, value)).collect::<Result<_, _>>()?;
            for mut entry in new {
                entry.number = live.next_entry;
                live.next_entry += 1;
                live.entries.push(entry);
            }
            live.publish();
            Ok(())
        })
    }

    /// Gives entries another value.
    pub fn set(&self, maps: bool, name: &str, which: &Which, value: &str) -> Result<(), ListError> {
        self.with(maps, name, |live| {
            let meant = live.meant(which)?;
            for place in meant {
                let Some(entry) = live.entries.get(place) else { continue };
                let new = Entry { number: entry.number, ..live.entry(entry.version, &entry.key, value)? };
                if let Some(entry) = live.entries.get_mut(place) {
                    *entry = new;
                }
            }
            live.publish();
            Ok(())
        })
    }

    /// Takes entries away.
    pub fn remove(&self, maps: bool, name: &str, which: &Which) -> Result<(), ListError> {
        self.with(maps, name, |live| {
            let numbers: Vec<u64> = {
                let meant = live.meant(which)?;
                meant.into_iter().filter_map(|place| Some(live.entries.get(place)?.number)).collect()
            };
            live.entries.retain(|entry| !numbers.contains(&entry.number));
            live.publish();
            Ok(())
        })
    }

    /// Takes all entries of a version away; without one, of that which is asked.
    pub fn clear(&self, maps: bool, name: &str, version: Option<u32>) -> Result<(), ListError> {
        self.with(maps, name, |live| {
            let version = version.unwrap_or(live.current);
            live.entries.retain(|entry| entry.version != version);
            live.publish();
            Ok(())
        })
    }

    /// A new version, to which entries can be added before it takes the place of the one that is asked. Returns its number.
    pub fn prepare(&self, maps: bool, name: &str) -> Result<u32, ListError> {
        self.with(maps, name, |live| {
            live.newest += 1;
            Ok(live.newest)
        })
    }

    /// Asks this version from now on; those before it are gone.
    pub fn commit(&self, maps: bool, name: &str, version: u32) -> Result<(), ListError> {
        self.with(maps, name, |live| {
            if version <= live.current || version > live.newest {
                return Err(ListError::Version);
            }
            live.current = version;
            live.entries.retain(|entry| entry.version >= version);
            live.publish();
            Ok(())
        })
    }

    /// The list of this name, or of this number: `#3`.
    fn with<T>(
        &self,
        maps: bool,
        name: &str,
        ask: impl FnOnce(&mut Live) -> Result<T, ListError>,
    ) -> Result<T, ListError> {
        let number = name.strip_prefix('#').map(str::parse::<u32>);
        let mut lists = self.lock();
        let live = lists.iter_mut().filter(|live| live.is_map == maps).find(|live| match (&number, &live.name) {
            (Some(number), _) => number.as_ref() == Ok(&live.number),
            (None, ListName::File(path)) => path == name,
            (None, ListName::Number(_)) => false,
        });
        ask(live.ok_or(ListError::Unknown)?)
    }

    /// Nothing panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Vec<Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    fn new(name: &ListName) -> Self {
        Self {
            name: name.clone(),
            number: 0,
            is_map: false,
            entries: Vec::new(),
            uses: Vec::new(),
            current: 0,
            newest: 0,
            next_entry: 1,
        }
    }

    /// The number that its configuration gives it.
    fn given(&self) -> Option<u32> {
        match self.name {
            ListName::Number(number) => Some(number),
            ListName::File(_) => None,
        }
    }

    /// As it was read. Returns whether it was something else.
    fn reset(&mut self, list: &List) -> bool {
        let has = self.entries.iter().map(|entry| (&entry.key, &entry.value));
        (self.current, self.newest, self.is_map) = (0, 0, list.is_map);
        let is_same = self.entries.iter().all(|entry| entry.version == 0)
            && has.eq(list.entries.iter().map(|(key, value)| (key, value)));
        if is_same {
            return false;
        }
        self.entries.clear();
        for (key, value) in &list.entries {
            // What is wrong with one was told when the list was read.
            if let Ok(mut entry) = self.entry(0, key, value) {
                entry.number = self.next_entry;
                self.next_entry += 1;
                self.entries.push(entry);
            }
        }
        self.publish();
        true
    }

    fn index(&mut self, lookup: &Lookup, values: Kind) -> Arc<ArcSwap<Index>> {
        let Lookup { how, ignore_case, .. } = *lookup;
        let same = |one: &&Use| (one.how, one.ignore_case, one.values) == (how, ignore_case, values);
        if let Some(known) = self.uses.iter().find(same) {
            return Arc::clone(&known.index);
        }
        let new = Use { how, ignore_case, values, index: Arc::default() };
        self.entries.retain_mut(|entry| match new.compile(&entry.key, &entry.value) {
            Ok(compiled) => {
                entry.compiled.push(compiled);
                true
            }
            // It was told when the list was read.
            Err(_) => false,
        });
        let index = Arc::clone(&new.index);
        self.uses.push(new);
        self.publish();
        index
    }

    /// A new entry, without its number.
    fn entry(&self, version: u32, key: &str, value: &str) -> Result<Entry, ListError> {
        let compiled = self.uses.iter().map(|one| one.compile(key, value)).collect::<Result<_, _>>()?;
        Ok(Entry { number: 0, version, key: key.to_owned(), value: value.to_owned(), compiled })
    }

    fn publish(&self) {
        for (place, one) in self.uses.iter().enumerate() {
            let asked = self.entries.iter().filter(|entry| entry.version == self.current);
            let compiled = asked.filter_map(|entry| entry.compiled.get(place).cloned());
            one.index.store(Arc::new(Index::new(one.how, one.ignore_case, compiled)));
        }
    }

    /// Places of the entries that are meant among those that are asked; for a number, among all.
    fn meant(&self, which: &Which) -> Result<Vec<usize>, ListError> {
        let is_meant = |entry: &Entry| match which {
            Which::Key(key) => entry.version == self.current && entry.key == *key,
            Which::Number(number) => entry.number == *number,
        };
        let meant = self.entries.iter().enumerate().filter(|(_, entry)| is_meant(entry));
        let meant: Vec<usize> = meant.map(|(place, _)| place).collect();
        if meant.is_empty() { Err(ListError::NoEntry) } else { Ok(meant) }
    }

    fn finding(&self, one: &Use, key: &str) -> Finding {
        let index = one.index.load();
        let place = match one.how {
            How::Address => key.parse().ok().and_then(|address| index.of_address(address)),
            How::Number => number(key).ok().and_then(|number| index.of_number(number)),
            _ => index.of_text(key.as_bytes()),
        };
        let mut asked = self.entries.iter().filter(|entry| entry.version == self.current);
        let row = place.and_then(|place| asked.nth(place)).map(Entry::row);
        Finding { how: one.how, ignore_case: one.ignore_case, values: one.values, row }
    }

    fn overview(&self) -> Overview {
        let Self { number, name, is_map, current, newest, entries, .. } = self;
        Overview {
            number: *number,
            name: name.clone(),
            is_map: *is_map,
            current: *current,
            newest: *newest,
            count: entries.len(),
        }
    }
}

impl Entry {
    fn row(&self) -> Row {
        Row { number: self.number, key: self.key.clone(), value: self.value.clone() }
    }
}

impl Use {
    fn compile(&self, key: &str, value: &str) -> Result<(Compiled, Value<'static>), ListError> {
        let pattern = Compiled::of(self.how, self.ignore_case, key);
        let pattern = pattern.map_err(|why| ListError::Pattern { how: self.how, text: key.to_owned(), why })?;
        let value = pattern::value(self.values, value).ok_or_else(|| ListError::Value(value.to_owned()))?;
        Ok((pattern, value))
    }
}

#[cfg(test)]
mod tests;
