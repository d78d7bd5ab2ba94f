//! `vipgate vrrp …`: what an operator changes about virtual routers while they run.

use std::sync::Arc;
use std::time::Duration;

use super::handover::refuse_unknown;
use super::node::Node;
use crate::control::server::Answer;
use crate::control::{Reply, VrrpAction};
use crate::model::Priority;
use crate::speaker::{SteerReport, Steering};

impl Node {
    /// Has the routers do it and answers with what came of it.
    pub(super) fn steer(&self, action: VrrpAction, router: Option<String>, answer: Answer) {
        let config = self.shared.config();
        if let Some(reply) = refuse_unknown(&config, router.as_deref()) {
            answer.finish(reply);
            return;
        }
        let steering = match steering(action) {
            Ok(steering) => steering,
            Err(reply) => {
                answer.finish(reply);
                return;
            }
        };
        tracing::info!(target: "vipgate", router = router.as_deref().unwrap_or("all"), "asked to {steering}");
        let speaker = Arc::clone(&self.speaker);
        tokio::spawn(async move {
            let reports = speaker.steer(router.as_deref(), steering).await;
            answer.finish(reply(&reports));
        });
    }
}

fn steering(action: VrrpAction) -> Result<Steering, Reply> {
    Ok(match action {
        VrrpAction::Takeover => Steering::TakeOver,
        VrrpAction::Freeze { seconds } => Steering::Freeze(seconds.map(Duration::from_secs)),
        VrrpAction::Thaw => Steering::Thaw,
        VrrpAction::Priority { value: None } => Steering::Priority(None),
        VrrpAction::Priority { value: Some(value) } => match Priority::new(value) {
            Ok(priority) if priority != Priority::OWNER => Steering::Priority(Some(priority)),
            Ok(_) | Err(_) => {
                return Err(Reply::failed(
                    format!("{value} is no priority to set"),
                    "1 to 254; 255 is the owner of the addresses, who is configured as that",
                ));
            }
        },
    })
}

fn reply(reports: &[SteerReport]) -> Reply {
    if reports.is_empty() {
        return Reply::failed("there is no virtual router", "configure a [[virtual-router]]");
    }
    let text: Vec<String> = reports.iter().map(|report| format!("{}: {}", report.router, report.text)).collect();
    if reports.iter().all(|report| report.done) {
        Reply::done(text.join("\n"))
    } else {
        Reply::failed(text.join("\n"), "`vipgate vrrp show` says how the routers are now")
    }
}
