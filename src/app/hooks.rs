//! What must be done around a change of ownership. The hooks of one router run one after the other, in the order of
//! what happened: what undoes something runs after what did it, even if the router gave up meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::model::{self, Command, VirtualRouter};
use crate::notify::{self, Moment, Runner};
use crate::stats::Registry;

/// The hooks of every router.
pub(super) struct Hooks {
    runner: Runner,
    registry: Arc<Registry>,
    /// What every router was configured with last, those included that the last reload removed.
    configured: BTreeMap<String, model::Hooks>,
    /// Completed at the end of the last one that was started for a router.
    last: BTreeMap<String, oneshot::Receiver<()>>,
    running: JoinSet<()>,
}

impl Hooks {
    pub(super) fn new(runner: Runner, registry: Arc<Registry>) -> Self {
        Self { runner, registry, configured: BTreeMap::new(), last: BTreeMap::new(), running: JoinSet::new() }
    }

    /// The routers were `before`, and are `after` from now on. One that a reload removed has its last words still.
    pub(super) fn configure(&mut self, before: &[VirtualRouter], after: &[VirtualRouter]) {
        let known = |name: &String| before.iter().chain(after).any(|router| router.name == *name);
        self.configured.retain(|name, _| known(name));
        self.last.retain(|name, _| known(name));
        self.configured.extend(after.iter().map(|router| (router.name.clone(), router.hooks.clone())));
    }

    /// The addresses of `router` are set once `done` is completed, or dropped.
    pub(super) fn before_master(&mut self, router: String, done: oneshot::Sender<()>) {
        let hook = self.configured.get(&router).and_then(|hooks| hooks.before_master.clone());
        self.start(Moment::BeforeMaster, router, hook, Some(done));
    }

    /// The last address of `router` is gone.
    pub(super) fn after_release(&mut self, router: String) {
        let hook = self.configured.get(&router).and_then(|hooks| hooks.after_release.clone());
        self.start(Moment::AfterRelease, router, hook, None);
    }

    fn start(&mut self, moment: Moment, router: String, hook: Option<Command>, done: Option<oneshot::Sender<()>>) {
        // Dropped without a hook: nobody has to wait.
        let Some(command) = hook else { return };
        let (runner, registry) = (Arc::clone(&self.runner), Arc::clone(&self.registry));
        let (ended, end) = oneshot::channel::<()>();
        let before = self.last.insert(router.clone(), end);
        while self.running.try_join_next().is_some() {}
        self.running.spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            notify::hook(&runner, moment, &router, &command, &registry).await;
            drop((done, ended));
        });
    }

    /// Waits until all have ended, each within its own time.
    pub(super) async fn finish(self) {
        self.running.join_all().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::model::{Family, Vrid};
    use crate::notify::{Ended, Job};

    const LONG: Duration = Duration::from_secs(5);

    fn router(name: &str) -> VirtualRouter {
        let command = |program: &str| {
            Some(Command { program: program.into(), arguments: Vec::new(), user: None, timeout: 2 * LONG })
        };
        let hooks = model::Hooks { before_master: command("begin"), after_release: command("end") };
        let interface = "eth0".parse().unwrap();
        VirtualRouter { hooks, ..VirtualRouter::new(name, interface, Vrid::new(1).unwrap(), Family::V4) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_undoes_waits_for_what_it_undoes_and_other_routers_do_not() {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&lines);
        let runner = move |job: Job| {
            let told = Arc::clone(&told);
            async move {
                let line = format!("{} {}", job.environment[1].1, job.command.program.display());
                told.lock().unwrap().push(format!("{line}..."));
                tokio::time::sleep(LONG).await;
                told.lock().unwrap().push(line);
                Ended::Exited(0)
            }
        };
        let mut hooks = Hooks::new(Arc::new(runner), Arc::default());
        hooks.configure(&[], &[router("one"), router("two")]);
        let (done, mut is_done) = oneshot::channel();
        hooks.before_master("one".into(), done);
        hooks.configure(&[router("one"), router("two")], &[router("two")]);
        hooks.after_release("one".into());
        hooks.before_master("two".into(), oneshot::channel().0);
        tokio::time::sleep(LONG / 2).await;
        assert_eq!(*lines.lock().unwrap(), ["one begin...", "two begin..."]);
        assert_eq!(is_done.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        hooks.finish().await;
        assert_eq!(lines.lock().unwrap()[2..], ["one begin", "two begin", "one end...", "one end"]);
        assert_eq!(is_done.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
