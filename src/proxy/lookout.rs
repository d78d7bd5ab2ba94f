//! What is going on in the data plane, for those who are no connection: on any thread, at any time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::Proxy;
use super::figures::about_pool;
use super::shared::PoolShared;
use crate::model::figure::Figure;
use crate::rules::{Lists, World};

/// The pools as they are served now, over reloads.
#[derive(Debug, Clone, Default)]
pub struct Lookout(Arc<Mutex<Pools>>);

type Pools = BTreeMap<String, Arc<PoolShared>>;

impl Lookout {
    /// Sees these from now on.
    pub(super) fn see(&self, pools: &Pools) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(pools);
    }

    fn pool(&self, name: &str) -> Option<Arc<PoolShared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl World for Lookout {
    /// Who asks here is in no service: what there is about one is his to say.
    fn figure(&self, figure: &Figure) -> i64 {
        about_pool(figure, |name| self.pool(name), Instant::now())
    }

    fn is_up(&self, pool: &str, server: &str) -> bool {
        self.pool(pool).is_some_and(|pool| pool.is_up(server))
    }
}

impl Proxy {
    /// A view of the data plane that stays.
    #[must_use]
    pub fn lookout(&self) -> Lookout {
        self.lookout.clone()
    }

    /// The lists that its rules ask, and those of pages.
    #[must_use]
    pub fn lists(&self) -> &Arc<Lists> {
        &self.lists
    }
}
