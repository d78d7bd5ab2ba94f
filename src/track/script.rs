//! Commands whose exit status says whether something is well.

use tokio::time::{MissedTickBehavior, interval};

use super::{Finding, RunCommand, Seen, Sight};
use crate::model::ScriptCheck;

/// From start to start one interval; a run that takes longer delays the next: there are never two at once.
pub(super) async fn watch(check: ScriptCheck, run: RunCommand, sight: Sight) {
    let mut ticks = interval(check.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (well, reason) = run(check.command.clone()).await;
        let _ = sight.send(Seen { what: Finding::Well(well), reason });
    }
}
