//! Between accept and the choice of a server, for services that have rules: who is turned away, what the client says first,
//! and which pool it goes to. What it says is kept for its server.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::connection::{Binding, Connection, Reset, State, Verdict, pool_of};
use super::relay::Ready;
use super::ruling::{Around, Ruled, hello_wait, wants_rdp};
use super::tls_session::offer;
use super::upstream::Upstream;
use super::worker::Context;
use crate::balance::KeyHash;
use crate::model::rule::{Denial, Directions, Stage};
use crate::model::{Affinity, Algorithm, Pool};
use crate::os::tcp::Stream;
use crate::rules::{self, Facts, Outcome, stick};
use crate::stats::EndReason;
use crate::wire::rdp;

/// A client that is listened to.
#[derive(Debug)]
pub(super) struct Inspecting {
    /// How it will go on.
    pub(super) upstream: Box<Upstream>,
    stage: Stage,
    from: usize,
    /// Its pool, once that is chosen: the rules are those of the pool from then on.
    pub(super) pool: Option<Arc<Pool>>,
    since: Instant,
    until: Instant,
}

/// The rules that are asked on accept. An error says what turned the client away.
pub(super) fn admit(
    client: SocketAddr,
    destination: SocketAddr,
    binding: &Binding,
    now: Instant,
) -> Result<Option<Box<Ruled>>, Denial> {
    let service = &binding.service;
    let Some(ruling) = &service.ruling else { return Ok(None) };
    ruling.count(now);
    let mut ruled = None;
    let facts = Facts::unheard(client, destination);
    let mut around = Around { service, ruling, source: client.ip(), ruled: &mut ruled, now };
    match rules::decide(ruling.policy(), Stage::Connection, 0, &facts, ruling.matchers(), &mut around) {
        Outcome::Reject(denial) => Err(denial),
        Outcome::Pass | Outcome::Pool(_) | Outcome::Nowhere | Outcome::Wait { .. } => Ok(ruled),
    }
}

/// Closes the socket of a client that was turned away on accept.
pub(super) fn turn_away(stream: &Stream, denial: Denial) -> EndReason {
    match denial {
        Denial::Silent => leave_silently(stream),
        Denial::Rule | Denial::Limit => _ = stream.reset_on_close(),
    }
    reason(Stage::Connection, denial)
}

/// The close that follows tells the client nothing. Where that is not permitted, it is reset.
pub(super) fn leave_silently(stream: &Stream) {
    if stream.close_silently().is_err() {
        let _closed = stream.reset_on_close();
    }
}

fn reason(stage: Stage, denial: Denial) -> EndReason {
    match (denial, stage) {
        (Denial::Limit, _) => EndReason::SourceLimit,
        (Denial::Rule | Denial::Silent, Stage::Connection) => EndReason::DeniedConnection,
        (Denial::Rule | Denial::Silent, Stage::Session) => EndReason::DeniedSession,
        (Denial::Rule | Denial::Silent, Stage::Content | Stage::Route | Stage::Server) => EndReason::DeniedContent,
    }
}

/// How the socket is closed of a client that a later stage turns away; a reset says that it was, unless it was listened to.
fn ending(stage: Stage, denial: Denial) -> Verdict {
    let reset = match (denial, stage) {
        (Denial::Silent, _) => Reset::Silent,
        (Denial::Rule | Denial::Limit, Stage::Session) => Reset::Client,
        (Denial::Rule | Denial::Limit, _) => Reset::None,
    };
    Verdict::End(reason(stage, denial), reset)
}

/// Whether it is not yet known if the client says what its pool wants to hear.
fn is_open(pool: &Pool, facts: &Facts<'_>) -> bool {
    let rdp = wants_rdp(pool) && facts.rdp_request() == rdp::Heard::Part;
    // Nobody else's first bytes are waited for where only those of RDP count.
    let hello = !wants_rdp(pool) || matches!(pool.affinity, Affinity::Tls(_)) || pool.algorithm == Algorithm::Sni;
    rdp || hello && facts.is_open()
}

impl Connection {
    /// The client's address is certain: asks the rules from there on, then chooses a server.
    pub(super) fn inspect(&mut self, context: &mut Context<'_>) -> Verdict {
        if self.binding.service.ruling.is_none() {
            self.binding.service.pool.sessions.count(context.now);
            return self.dispatch(context);
        }
        let binding = Rc::clone(&self.binding);
        let (service, Some(ruling)) = (&binding.service, &binding.service.ruling) else { return Verdict::Keep };
        let facts = Facts::unheard(self.client, self.destination);
        let mut around = Around { service, ruling, source: self.client.ip(), ruled: &mut self.ruled, now: context.now };
        if let Outcome::Reject(denial) =
            rules::decide(ruling.policy(), Stage::Session, 0, &facts, ruling.matchers(), &mut around)
        {
            return ending(Stage::Session, denial);
        }
        ruling.count_admitted(context.now);
        if let Some(ruled) = &self.ruled {
            ruled.admit(context.now);
        }
        let State::Upstream(mut upstream) = std::mem::replace(&mut self.state, State::Over) else {
            return Verdict::Keep;
        };
        // It may have spoken before it was accepted.
        upstream.client_ready.readable |= ruling.listens;
        let until = context.now + ruling.delay();
        self.state = State::Inspecting(Box::new(Inspecting {
            upstream,
            stage: Stage::Content,
            from: 0,
            pool: None,
            since: context.now,
            until,
        }));
        self.listen(context)
    }

    /// Something was reported about a client that is listened to.
    pub(super) fn on_heard(&mut self, ready: Ready, context: &mut Context<'_>) -> Verdict {
        let State::Inspecting(inspecting) = &mut self.state else { return Verdict::Keep };
        inspecting.upstream.client_ready.add(ready);
        self.listen(context)
    }

    /// Its time is over, or the client's.
    pub(super) fn on_inspection_timer(&mut self, context: &mut Context<'_>) -> Verdict {
        let State::Inspecting(inspecting) = &self.state else { return Verdict::Keep };
        if context.now < inspecting.until {
            return Verdict::End(EndReason::ClientTimeout, Reset::None);
        }
        self.listen(context)
    }

    pub(super) fn inspection_deadline(&self, inspecting: &Inspecting) -> Instant {
        let silence = self.binding.service.spec.client_timeout.map(|silence| self.started + silence);
        silence.map_or(inspecting.until, |at| at.min(inspecting.until))
    }

    /// Looks at what the client has said, and asks the rules that wait for it: those of the service, then those of its pool.
    fn listen(&mut self, context: &mut Context<'_>) -> Verdict {
        let binding = Rc::clone(&self.binding);
        let service = &binding.service;
        let (Some(ruling), State::Inspecting(inspecting)) = (&service.ruling, &mut self.state) else {
            return Verdict::Keep;
        };
        let Inspecting { upstream, stage, from, pool, since, until } = inspecting.as_mut();
        let heard = if ruling.listens { upstream.hear(context.workspace.scratch()) } else { Ok(false) };
        let Ok(over) = heard else { return Verdict::End(EndReason::ClientAborted, Reset::None) };
        let over = over || upstream.client_ready.read_end;
        let heard = upstream.heard.as_slice();
        let (client, destination) = (self.client, self.destination);
        let facts_until = |until| Facts::new(client, destination, heard, over || context.now >= until);
        let mut facts = facts_until(*until);
        let mut around = Around { service, ruling, source: client.ip(), ruled: &mut self.ruled, now: context.now };
        let pool = loop {
            let rules = match &*pool {
                Some(pool) => pool.policy.as_deref().filter(|_| *stage == Stage::Content),
                None => Some(ruling.policy()),
            };
            let outcome = match rules {
                Some(rules) => rules::decide(rules, *stage, *from, &facts, ruling.matchers(), &mut around),
                None => Outcome::Pass,
            };
            match outcome {
                Outcome::Pass if pool.is_some() || *stage == Stage::Route => {}
                Outcome::Pass => {
                    (*stage, *from) = (Stage::Route, 0);
                    continue;
                }
                Outcome::Pool(name) => {
                    around.ruled.get_or_insert_default().pool = ruling.place(&name);
                }
                Outcome::Wait { from: rule } => {
                    *from = rule;
                    return Verdict::Keep;
                }
                Outcome::Reject(denial) => return ending(*stage, denial),
                Outcome::Nowhere => return Verdict::End(EndReason::NoServer, Reset::Client),
            }
            if let Some(pool) = pool {
                *stage = Stage::Server;
                break Arc::clone(pool);
            }
            let shared = pool_of(&binding, around.ruled.as_deref());
            shared.sessions.count(context.now);
            let chosen = shared.spec();
            if let Some(policy) = &chosen.policy {
                *until = (*until).max(context.now + policy.inspect_delay);
                facts = facts_until(*until);
            }
            (*stage, *from, *pool) = (Stage::Content, 0, Some(chosen));
        };
        let shared = pool_of(&binding, around.ruled.as_deref());
        let serves = |server: &str| pool.persist || shared.is_up(server);
        let mut directions = match &pool.policy {
            Some(policy) => match rules::direct(policy, &facts, ruling.matchers(), &around, serves) {
                Some(directions) => directions,
                None => return Verdict::Keep,
            },
            None => Directions::default(),
        };
        let ended = over || context.now >= *until;
        if let Some(wait) = hello_wait(&pool).filter(|_| !ended && is_open(&pool, &facts)) {
            // Rules may wait for longer than the pool, but no longer now that they are done.
            *until = (*until).min(*since + wait);
            if context.now < *until {
                return Verdict::Keep;
            }
        }
        if let Some(token) = &pool.rdp_cookie
            && directions.server.is_none()
        {
            let meant = facts.rdp_request().server(token).and_then(|at| shared.server_at(at.into(), destination));
            directions.server = meant.filter(|server| directions.is_forced() || serves(server));
        }
        if directions != Directions::default() {
            around.ruled.get_or_insert_default().directions = Some(Arc::new(directions));
        }
        let keeps_sessions = matches!(pool.affinity, Affinity::Tls(_));
        if let Some(rules) = pool.stick_rules() {
            match stick::keys(rules, &facts, ruling.matchers(), &around) {
                None if !ended => return Verdict::Keep,
                known => self.stick_keys = Some(Arc::new(known.unwrap_or_default())),
            }
        }
        if pool.algorithm == Algorithm::RdpUser {
            let user = facts.rdp_request().user().map(KeyHash::of_bytes);
            self.ruled.get_or_insert_default().rdp_user = user;
        }
        self.spec = pool;
        let hello = facts.into_hello();
        let State::Inspecting(inspecting) = std::mem::replace(&mut self.state, State::Over) else {
            return Verdict::Keep;
        };
        if let Some(mut hello) = hello {
            let ruled = self.ruled.get_or_insert_default();
            ruled.server_name = hello.server_name.take().map(String::into_boxed_str);
            ruled.offer = keeps_sessions.then(|| offer(hello));
        }
        if let Some(ruled) = &mut self.ruled {
            ruled.settle_notes(&service.spec.log_line);
        }
        let Inspecting { mut upstream, .. } = *inspecting;
        upstream.restart(context.now);
        self.state = State::Upstream(upstream);
        self.dispatch(context)
    }
}
