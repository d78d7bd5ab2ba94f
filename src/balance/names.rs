//! Numbers of servers' names: the same for a name in every pool and for the life of the process, so that pools can share a
//! stick table, and a peer's entries mean something.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::candidate::ServerId;

static NAMES: LazyLock<Mutex<Names>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Names {
    numbers: HashMap<Arc<str>, ServerId>,
    /// By number, from 1 on.
    names: Vec<Arc<str>>,
}

/// The number of a name, which has one from now on.
pub(super) fn number_of(name: &str) -> ServerId {
    let mut names = lock();
    if let Some(number) = names.numbers.get(name) {
        return *number;
    }
    let name: Arc<str> = name.into();
    names.names.push(Arc::clone(&name));
    let number = ServerId::try_from(names.names.len()).unwrap_or(ServerId::MAX - 1);
    names.numbers.insert(name, number);
    number
}

/// The number of a name, if any pool ever had a server of this name.
#[must_use]
pub fn find(name: &str) -> Option<ServerId> {
    lock().numbers.get(name).copied()
}

/// The name of a number.
#[must_use]
pub fn name_of(number: ServerId) -> Option<Arc<str>> {
    lock().names.get((number as usize).checked_sub(1)?).cloned()
}

/// Nothing panics while it holds the lock.
fn lock() -> MutexGuard<'static, Names> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number() {
        let number = number_of("names-a");
        assert_ne!(number_of("names-b"), number);
        assert_eq!(
            (number_of("names-a"), find("names-a"), name_of(number).as_deref()),
            (number, Some(number), Some("names-a"))
        );
        assert_eq!((find("names-never"), name_of(0), name_of(ServerId::MAX)), (None, None, None));
    }
}
