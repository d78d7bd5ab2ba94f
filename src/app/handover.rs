//! `vipgate handover`: the addresses move to whoever takes them, and who asked learns how that ended.

use std::sync::Arc;

use super::node::{Done, Node};
use crate::control::Reply;
use crate::control::server::Answer;
use crate::model::Config;
use crate::speaker::{HandoverOutcome, HandoverReport, Speaker};
use crate::stats::Role;

impl Node {
    pub(super) fn hand_over(&mut self, router: Option<String>, answer: Answer) {
        if let Some(reply) = refuse_unknown(&self.shared.config(), router.as_deref()) {
            answer.finish(reply);
            return;
        }
        if std::mem::replace(&mut self.handing_over, true) {
            answer.finish(Reply::failed(
                "a hand-over is under way already",
                "wait for it, then look at `vipgate status`",
            ));
            return;
        }
        let (speaker, done) = (Arc::clone(&self.speaker), self.done.clone());
        tokio::spawn(async move {
            finish_handover(&speaker, router.as_deref(), answer).await;
            let _ = done.send(Done::HandedOver);
        });
    }
}

/// What to say if there is no router of that name; `name` none means all of them.
pub(super) fn refuse_unknown(config: &Config, name: Option<&str>) -> Option<Reply> {
    let known = || config.routers.iter().map(|router| router.name.as_str());
    let name = name.filter(|name| !known().any(|known| known == *name))?;
    let [text, remedy] = unknown_router(name, known());
    Some(Reply::failed(text, remedy))
}

/// That there is no router of that name, and which there are.
pub(super) fn unknown_router<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> [String; 2] {
    let known: Vec<&str> = known.collect();
    [format!("there is no virtual router `{name}`"), format!("the routers are: {}", known.join(", "))]
}

async fn finish_handover(speaker: &Speaker, router: Option<&str>, answer: Answer) {
    let reports = speaker.handover(router).await;
    if reports.is_empty() {
        let remedy = "a hand-over moves virtual addresses: configure a [[virtual-router]]";
        answer.finish(Reply::failed("there is no virtual router", remedy));
        return;
    }
    let text = reports.iter().map(describe).collect::<Vec<_>>().join("\n");
    let moved = |report: &HandoverReport| match report.outcome {
        HandoverOutcome::Moved { .. }
        | HandoverOutcome::NotMaster(Role::Initialize | Role::Backup | Role::Master | Role::Fault) => true,
        HandoverOutcome::NotMaster(Role::Leaving)
        | HandoverOutcome::NobodyTook
        | HandoverOutcome::Interrupted(_)
        | HandoverOutcome::UnknownRouter => false,
    };
    answer.finish(if reports.iter().all(moved) {
        Reply::done(text)
    } else {
        Reply::failed(
            text,
            "does the other node run, and do its advertisements arrive? `vipgate status` there says what it hears",
        )
    });
}

/// One hand-over in one line.
fn describe(report: &HandoverReport) -> String {
    let HandoverReport { router, outcome, took } = report;
    let took = took.as_millis();
    match outcome {
        HandoverOutcome::Moved { to: Some(to) } => format!("{router}: {to} took over after {took} ms"),
        HandoverOutcome::Moved { to: None } => format!("{router}: another node took over after {took} ms"),
        HandoverOutcome::NobodyTook => {
            format!("{router}: nobody took over within {took} ms, this node is master still")
        }
        HandoverOutcome::NotMaster(Role::Leaving) => format!("{router}: a hand-over is under way already"),
        HandoverOutcome::NotMaster(role) => {
            format!("{router}: nothing to hand over, its role here is {}", role.label())
        }
        HandoverOutcome::Interrupted(role) => {
            format!("{router}: the hand-over was interrupted, the role is {} now", role.label())
        }
        HandoverOutcome::UnknownRouter => format!("{router}: there is no such virtual router"),
    }
}
