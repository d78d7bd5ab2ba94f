//! Lists of patterns, and of keys with values, which can be changed while connections ask them: a change makes a new index
//! of the list, which shares with the one before what has not changed, and publishes it, so that who asks never waits.

mod index;
mod pattern;
mod pieces;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use crate::model::list::{How, Kind, List, ListName, Lookup};
use crate::model::value::Value;
pub(super) use index::Index;
use pattern::Compiled;
pub(super) use pattern::value;
pub use pattern::{check, hex, network, number};
use pieces::ByKey;

/// The lists of all rules. One value for the life of the process.
#[derive(Debug, Default)]
pub struct Lists(Mutex<Vec<Live>>);

/// A way of asking a list, and what its values are.
type Wanted<'l> = (&'l Lookup, Kind);

/// A list as it is now.
#[derive(Debug)]
struct Live {
    name: ListName,
    number: u32,
    is_map: bool,
    /// By their numbers, which is the order in which they came.
    entries: BTreeMap<u64, Entry>,
    /// Of every version, by their patterns.
    by_key: ByKey<Box<str>>,
    uses: Vec<Use>,
    /// Of the entries that are asked; those of others wait until they are committed.
    current: u32,
    /// The newest that was prepared.
    newest: u32,
    next_entry: u64,
}

#[derive(Debug)]
struct Entry {
    version: u32,
    key: String,
    value: String,
}

/// A way in which rules ask a list.
#[derive(Debug)]
struct Use {
    how: How,
    ignore_case: bool,
    values: Kind,
    /// As it will be published.
    index: Index,
    published: Arc<ArcSwap<Index>>,
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
    /// Those of this pattern, of every version.
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
    pub fn load<'l>(&self, wanted: impl Iterator<Item = Wanted<'l>>) -> Vec<ListName> {
        let mut wanted_lists: Vec<(&Arc<List>, Vec<Wanted<'_>>)> = Vec::new();
        for (lookup, values) in wanted {
            match wanted_lists.iter_mut().find(|(list, _)| list.name == lookup.list.name) {
                Some((_, lookups)) => lookups.push((lookup, values)),
                None => wanted_lists.push((&lookup.list, vec![(lookup, values)])),
            }
        }
        let mut lists = self.lock();
        let mut old = std::mem::take(&mut *lists);
        let mut others = Vec::new();
        for (list, lookups) in wanted_lists {
            let known = old.iter().position(|live| live.name == list.name);
            let mut live = known.map_or_else(|| Live::new(&list.name), |place| old.swap_remove(place));
            // What nobody asks any more has no say in what a pattern may be.
            live.uses.retain(|one| lookups.iter().any(|(lookup, values)| one.is(lookup, *values)));
            if live.reset(list) && known.is_some() {
                others.push(live.name.clone());
            }
            for (lookup, values) in lookups {
                live.is_map |= lookup.list.is_map;
                live.index(lookup, values);
            }
            lists.push(live);
        }
        let given: Vec<u32> = lists.iter().filter_map(Live::given).collect();
        let mut free = (0..).filter(|number| !given.contains(number));
        for live in &mut *lists {
            live.number = live.given().or_else(|| free.next()).unwrap_or_default();
        }
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
            let of_version = live.entries.iter().filter(|(_, entry)| entry.version == version);
            Ok(of_version.map(|(number, entry)| entry.row(*number)).collect())
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
            let compiled: Vec<_> =
                entries.iter().map(|(key, value)| live.compile(key, value)).collect::<Result<_, _>>()?;
            for ((key, value), compiled) in entries.iter().zip(compiled) {
                live.push(version, key, value, compiled.into_iter().map(Some));
            }
            live.publish();
            Ok(())
        })
    }

    /// Gives entries another value.
    pub fn set(&self, maps: bool, name: &str, which: &Which, value: &str) -> Result<(), ListError> {
        self.with(maps, name, |live| {
            let meant = live.meant(which)?;
            let constants: Vec<_> = live.uses.iter().map(|one| one.constant(value)).collect::<Result<_, _>>()?;
            for number in meant {
                let Some(entry) = live.entries.get_mut(&number) else { continue };
                value.clone_into(&mut entry.value);
                for (one, constant) in live.uses.iter_mut().zip(&constants) {
                    one.index.set(number, constant.clone());
                }
            }
            live.publish();
            Ok(())
        })
    }

    /// Takes entries away.
    pub fn remove(&self, maps: bool, name: &str, which: &Which) -> Result<(), ListError> {
        self.with(maps, name, |live| {
            for number in live.meant(which)?.into_iter().rev() {
                live.remove(number);
            }
            live.publish();
            Ok(())
        })
    }

    /// Takes all entries of a version away; without one, of that which is asked.
    pub fn clear(&self, maps: bool, name: &str, version: Option<u32>) -> Result<(), ListError> {
        self.with(maps, name, |live| {
            let version = version.unwrap_or(live.current);
            live.retain(|entry| entry.version != version);
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
            live.retain(|entry| entry.version >= version);
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
            entries: BTreeMap::new(),
            by_key: ByKey::default(),
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
        let has = self.entries.values().map(|entry| (&entry.key, &entry.value));
        let is_same = self.current == 0
            && self.entries.values().all(|entry| entry.version == 0)
            && has.eq(list.entries.iter().map(|(key, value)| (key, value)));
        (self.current, self.newest, self.is_map) = (0, 0, list.is_map);
        if is_same {
            return false;
        }
        (self.entries, self.by_key) = (BTreeMap::new(), ByKey::default());
        for (key, value) in &list.entries {
            // They are put into the indices together.
            self.push(0, key, value, std::iter::empty());
        }
        self.fill();
        true
    }

    fn index(&mut self, lookup: &Lookup, values: Kind) -> Arc<ArcSwap<Index>> {
        if let Some(known) = self.uses.iter().find(|one| one.is(lookup, values)) {
            return Arc::clone(&known.published);
        }
        let Lookup { how, ignore_case, .. } = *lookup;
        let mut new = Use { how, ignore_case, values, index: Index::default(), published: Arc::default() };
        new.fill(&self.entries, self.current);
        let published = Arc::clone(&new.published);
        self.uses.push(new);
        published
    }

    /// What an entry is in each of the uses.
    fn compile(&self, key: &str, value: &str) -> Result<Vec<(Compiled, Value<'static>)>, ListError> {
        self.uses.iter().map(|one| one.compile(key, value)).collect()
    }

    /// Adds an entry, and what it is in each of the uses.
    fn push(
        &mut self,
        version: u32,
        key: &str,
        value: &str,
        compiled: impl Iterator<Item = Option<(Compiled, Value<'static>)>>,
    ) {
        let number = self.next_entry;
        self.next_entry += 1;
        self.by_key.push(key.into(), number);
        self.entries.insert(number, Entry { version, key: key.to_owned(), value: value.to_owned() });
        if version == self.current {
            for (one, compiled) in self.uses.iter_mut().zip(compiled) {
                if let Some((pattern, value)) = compiled {
                    one.index.push(number, pattern, value);
                }
            }
        }
    }

    fn remove(&mut self, number: u64) {
        let Some(entry) = self.entries.remove(&number) else { return };
        self.by_key.remove(&*entry.key, number);
        for one in &mut self.uses {
            if let Ok(pattern) = one.pattern(&entry.key) {
                one.index.remove(number, &pattern);
            }
        }
    }

    /// Keeps these entries only, and publishes those of the version that is asked.
    fn retain(&mut self, stays: impl Fn(&Entry) -> bool) {
        self.entries.retain(|_, entry| stays(entry));
        self.by_key = ByKey::default();
        for (number, entry) in &self.entries {
            self.by_key.push(entry.key.as_str().into(), *number);
        }
        self.fill();
    }

    fn fill(&mut self) {
        for one in &mut self.uses {
            one.fill(&self.entries, self.current);
        }
    }

    fn publish(&self) {
        self.uses.iter().for_each(Use::publish);
    }

    /// Numbers of the entries that are meant, ascending.
    fn meant(&self, which: &Which) -> Result<Vec<u64>, ListError> {
        let meant = match which {
            Which::Key(key) => self.by_key.all(key.as_str()),
            Which::Number(number) => self.entries.contains_key(number).then_some(*number).into_iter().collect(),
        };
        if meant.is_empty() { Err(ListError::NoEntry) } else { Ok(meant) }
    }

    fn finding(&self, one: &Use, key: &str) -> Finding {
        let found = match one.how {
            How::Address => key.parse().ok().and_then(|address| one.index.of_address(address)),
            How::Number => number(key).ok().and_then(|number| one.index.of_number(number)),
            _ => one.index.of_text(key.as_bytes()),
        };
        let row = found.and_then(|number| Some(self.entries.get(&number)?.row(number)));
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
    fn row(&self, number: u64) -> Row {
        Row { number, key: self.key.clone(), value: self.value.clone() }
    }
}

impl Use {
    fn is(&self, lookup: &Lookup, values: Kind) -> bool {
        (self.how, self.ignore_case, self.values) == (lookup.how, lookup.ignore_case, values)
    }

    fn compile(&self, key: &str, value: &str) -> Result<(Compiled, Value<'static>), ListError> {
        Ok((self.pattern(key)?, self.constant(value)?))
    }

    fn pattern(&self, key: &str) -> Result<Compiled, ListError> {
        let pattern = Compiled::of(self.how, self.ignore_case, key);
        pattern.map_err(|why| ListError::Pattern { how: self.how, text: key.to_owned(), why })
    }

    fn constant(&self, value: &str) -> Result<Value<'static>, ListError> {
        pattern::value(self.values, value).ok_or_else(|| ListError::Value(value.to_owned()))
    }

    /// Publishes the entries of a version. What is wrong with one was told when the list was read.
    fn fill(&mut self, entries: &BTreeMap<u64, Entry>, version: u32) {
        self.index = Index::new(self.how, self.ignore_case);
        for (number, entry) in entries.iter().filter(|(_, entry)| entry.version == version) {
            if let Ok((pattern, value)) = self.compile(&entry.key, &entry.value) {
                self.index.push(*number, pattern, value);
            }
        }
        self.publish();
    }

    fn publish(&self) {
        self.published.store(Arc::new(self.index.clone()));
    }
}

#[cfg(test)]
mod tests;
