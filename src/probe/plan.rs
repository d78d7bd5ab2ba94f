//! Checks made ready: expressions compiled, TLS configured, once for as long as a check stays as it is.

use std::sync::Arc;

use rustls::ClientConfig;

use super::connection::Manner;
use super::http::HttpExpected;
use super::matching::{self, Expected};
use super::tls;
use crate::model::{self, Check, CheckKind, CommandCheck, Connect, HttpRequest, PostgresLogin, Tls};

/// A check, ready to be made.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) check: Check,
    pub(super) work: Work,
}

/// What is done.
#[derive(Debug)]
pub(super) enum Work {
    Conversation(Vec<Step>),
    Command(CommandCheck),
}

/// One step of a conversation.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    /// As written, from 1; 0: it is implied.
    number: u16,
    pub(super) comment: Option<String>,
    scripted: bool,
}

#[derive(Debug)]
pub(super) enum Action {
    Connect(Opening),
    Send(Vec<u8>),
    Expect(Expected),
    /// Whether the body of the answer is looked at.
    Request(HttpRequest, bool),
    Response(HttpExpected),
    Postgres(PostgresLogin),
}

/// How a connection is opened.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) connect: Connect,
    /// With TLS: its configuration, or why there is none.
    pub(super) tls: Option<Result<Arc<ClientConfig>, String>>,
    pub(super) manner: Manner,
}

/// The TLS configurations made so far: thousands of servers share a few.
#[derive(Debug, Default)]
pub(super) struct TlsClients(Vec<(Tls, Result<Arc<ClientConfig>, String>)>);

impl TlsClients {
    fn get(&mut self, tls: &Tls) -> Result<Arc<ClientConfig>, String> {
        if let Some((_, client)) = self.0.iter().find(|(known, _)| known == tls) {
            return client.clone();
        }
        let client = tls::client(tls);
        self.0.push((tls.clone(), client.clone()));
        client
    }
}

impl Plan {
    pub(super) fn new(check: &Check, clients: &mut TlsClients) -> Self {
        let work = match &check.kind {
            CheckKind::Conversation(conversation) => Work::Conversation(steps(conversation, clients)),
            CheckKind::Command(command) => Work::Command(command.clone()),
        };
        Self { check: check.clone(), work }
    }

    /// A 404 answer is a success that asks for no new clients.
    pub(super) fn disable_on_404(&self) -> bool {
        matches!(&self.check.kind, CheckKind::Conversation(conversation) if conversation.disable_on_404)
    }

    /// How it speaks TLS with the server: on the first connection that it makes so.
    pub(super) fn tls(&self) -> Option<(&Connect, &Tls)> {
        let Work::Conversation(steps) = &self.work else { return None };
        steps.iter().find_map(|step| match &step.action {
            Action::Connect(opening) => Some((&opening.connect, opening.connect.tls.as_ref()?)),
            _ => None,
        })
    }

    /// Whether a request says how this node sees the server.
    pub(super) fn sends_state(&self) -> bool {
        let Work::Conversation(steps) = &self.work else { return false };
        steps.iter().any(|step| matches!(&step.action, Action::Request(request, _) if request.send_state))
    }
}

fn steps(conversation: &model::Conversation, clients: &mut TlsClients) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::with_capacity(conversation.steps.len());
    // Backwards: what a step needs to know is what comes after it.
    let mut last_is_send = None;
    let mut body_wanted = false;
    let mut server_speaks = false;
    for step in conversation.steps.iter().rev() {
        let action = match &step.action {
            model::Action::Connect(connect) => Action::Connect(Opening {
                connect: connect.clone(),
                tls: connect.tls.as_ref().map(|tls| clients.get(tls)),
                manner: if connect.linger || last_is_send.take() == Some(true) {
                    Manner::Clean
                } else if server_speaks && connect.tls.is_none() && connect.proxy_header.is_none() {
                    Manner::Greeted
                } else {
                    Manner::Brief
                },
            }),
            model::Action::Send(bytes) => {
                last_is_send.get_or_insert(true);
                Action::Send(bytes.clone())
            }
            model::Action::Expect(expect) => {
                last_is_send.get_or_insert(false);
                Action::Expect(Expected::new(expect))
            }
            model::Action::Request(request) => Action::Request(request.clone(), std::mem::take(&mut body_wanted)),
            model::Action::Response(expect) => {
                let expected = HttpExpected::new(expect);
                body_wanted |= expected.wants_body();
                Action::Response(expected)
            }
            model::Action::Postgres(login) => Action::Postgres(login.clone()),
        };
        server_speaks = matches!(action, Action::Expect(_));
        let (number, comment) = (step.number, step.comment.clone());
        steps.push(Step { action, number, comment, scripted: conversation.scripted });
    }
    steps.reverse();
    steps
}

impl Step {
    /// Where a check ended, as HAProxy says it of a connection or a timeout; nothing where nobody wrote steps.
    pub(super) fn place(&self) -> String {
        if !self.scripted {
            return String::new();
        }
        let comment = self.comment.as_ref().map_or_else(String::new, |comment| format!(" comment: '{comment}'"));
        match self.number {
            0 => " at initial connection step of tcp-check".to_owned(),
            number => format!(" at step {number} of tcp-check ({}){comment}", self.in_words()),
        }
    }

    /// The same, as it says it of an answer.
    pub(super) fn short_place(&self) -> String {
        if !self.scripted {
            return String::new();
        }
        let comment = self.comment.as_ref().map_or_else(String::new, |comment| format!(" comment: {comment}"));
        format!(" at step {}{comment}", self.number)
    }

    /// The same, for people.
    pub(super) fn named(&self) -> Option<String> {
        match (self.scripted, self.number) {
            (false, _) => None,
            (true, 0) => Some("the connection".to_owned()),
            (true, number) => {
                let what = self.comment.clone().unwrap_or_else(|| self.in_words());
                Some(format!("step {number} ({what})"))
            }
        }
    }

    fn in_words(&self) -> String {
        match &self.action {
            Action::Connect(Opening { connect: Connect { port: Some(port), .. }, .. }) => {
                format!("connect port {port}")
            }
            Action::Connect(_) => "connect".to_owned(),
            Action::Send(_) => "send".to_owned(),
            Action::Expect(expected) => matching::in_words(&expected.expect.pattern),
            Action::Request(..) => "request".to_owned(),
            Action::Response(_) => "expect".to_owned(),
            Action::Postgres(_) => "login".to_owned(),
        }
    }
}
