//! A check's steps, made one after the other.

use std::future::Future;
use std::net::SocketAddr;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::connection::{self, Manner, Stream};
use super::http::{self, HttpAnswer, HttpExpected};
use super::matching::{Expected, LONGEST_ANSWER};
use super::outcome::{Outcome, Verdict};
use super::plan::{Action, Opening, Plan, Step};
use super::{postgres, tls};
use crate::model::CheckResult;

/// Makes the steps of `plan` until one fails. `state` is what is sent where a request says how this node sees the server.
pub(super) async fn hold(plan: &Plan, steps: &[Step], state: Option<&str>) -> Outcome {
    let started = Instant::now();
    let mut talk = Talk {
        plan,
        state,
        deadline: started + plan.check.timeout,
        stream: None,
        received: Vec::new(),
        complete: false,
        answer: None,
        certificate_expires: None,
    };
    let mut last = Verdict::new(CheckResult::L4Ok);
    let mut failed_at = None;
    for step in steps {
        match talk.step(step).await {
            Ok(Next::Step(verdict)) => last = verdict,
            Ok(Next::End(verdict)) => {
                last = verdict;
                break;
            }
            Err(verdict) => {
                last = verdict;
                failed_at = step.named();
                break;
            }
        }
    }
    talk.close().await;
    let certificate_expires = talk.certificate_expires;
    Outcome { step: failed_at, certificate_expires, ..last.after(started.elapsed()) }
}

struct Talk<'p> {
    plan: &'p Plan,
    state: Option<&'p str>,
    deadline: Instant,
    stream: Option<(Stream, Manner)>,
    received: Vec<u8>,
    /// Nothing more will come.
    complete: bool,
    answer: Option<HttpAnswer>,
    certificate_expires: Option<SystemTime>,
}

/// How it goes on after a step that was fine.
enum Next {
    /// The result, if this was the last one.
    Step(Verdict),
    /// It is decided.
    End(Verdict),
}

impl Talk<'_> {
    async fn step(&mut self, step: &Step) -> Result<Next, Verdict> {
        match &step.action {
            Action::Connect(opening) => self.open(opening, step).await.map(Next::Step),
            Action::Send(bytes) => self.send(bytes, step).await.map(Next::Step),
            Action::Expect(expected) => self.expect(expected, step).await.map(Next::Step),
            Action::Request(request, with_body) => {
                let Some((stream, _)) = self.stream.take() else { return Err(not_connected()) };
                let asked = http::ask(stream, request, self.state, *with_body);
                let timed_out = || Verdict::saying(CheckResult::L7Timeout, step.place()).because("");
                self.answer = Some(limit(self.deadline, asked, timed_out).await?);
                Ok(Next::Step(Verdict::new(CheckResult::L7Ok)))
            }
            Action::Response(expected) => self.judge(expected, step),
            Action::Postgres(login) => {
                let Some((stream, _)) = &mut self.stream else { return Err(not_connected()) };
                let timed_out = || Verdict::saying(CheckResult::L7Timeout, step.place()).because("");
                limit(self.deadline, postgres::log_in(stream, login), timed_out).await.map(Next::Step)
            }
        }
    }

    /// With a time limit for answers, each connection has its own, and a time for being established before it.
    async fn open(&mut self, opening: &Opening, step: &Step) -> Result<Verdict, Verdict> {
        self.close().await;
        self.received.clear();
        self.complete = false;
        let check = &self.plan.check;
        let connect = &opening.connect;
        let target =
            SocketAddr::new(connect.address.unwrap_or(check.target.ip()), connect.port.unwrap_or(check.target.port()));
        if check.response_timeout.is_some() {
            self.deadline = Instant::now() + check.timeout;
        }
        let place = step.place();
        let connecting = connection::connect(target, check.source.as_ref(), opening.manner);
        let timed_out = || Verdict::saying(CheckResult::L4Timeout, place.clone()).because("");
        let mut stream = limit(self.deadline, connecting, timed_out)
            .await
            .map_err(|verdict| if verdict.result.timed_out() { verdict } else { verdict.at(&place) })?;
        if let Some(time) = check.response_timeout {
            self.deadline = Instant::now() + time;
        }
        if let Some(version) = connect.proxy_header {
            connection::write_header(&mut stream, version).await.map_err(|error| connection::broken(&error))?;
        }
        let Some((tls, config)) = connect.tls.as_ref().zip(opening.tls.as_ref()) else {
            self.stream = Some((Box::new(stream), opening.manner));
            return Ok(Verdict::new(CheckResult::L4Ok));
        };
        // What this node cannot do is not the server's fault.
        let config = config.as_ref().map_err(|cause| Verdict::saying(CheckResult::Starved, cause))?;
        let securing = connection::secure(stream, config, tls::name(tls, target.ip()));
        let timed_out = || Verdict::saying(CheckResult::L6Timeout, place.clone()).because("");
        let (stream, expires) = limit(self.deadline, securing, timed_out).await?;
        self.certificate_expires = expires;
        self.stream = Some((stream, opening.manner));
        Ok(Verdict::new(CheckResult::L6Ok))
    }

    async fn send(&mut self, bytes: &[u8], step: &Step) -> Result<Verdict, Verdict> {
        self.received.clear();
        let Some((stream, _)) = &mut self.stream else { return Err(not_connected()) };
        let sending = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let sent = async { sending.await.map_err(|error| connection::broken(&error)) };
        limit(self.deadline, sent, || Verdict::saying(CheckResult::L7Timeout, step.place()).because("")).await?;
        Ok(Verdict::saying(CheckResult::L7Ok, "(tcp-check)"))
    }

    async fn expect(&mut self, expected: &Expected, step: &Step) -> Result<Verdict, Verdict> {
        let place = step.short_place();
        loop {
            if let Some(verdict) = expected.judge(&self.received, self.complete, &place) {
                return if verdict.result.passed() { Ok(verdict) } else { Err(verdict) };
            }
            let Some((stream, _)) = &mut self.stream else { return Err(not_connected()) };
            let mut chunk = [0; 2048];
            let room = chunk.len().min(LONGEST_ANSWER - self.received.len());
            let reading = async { Ok(stream.read(&mut chunk[..room]).await) };
            let timed_out = || Verdict::saying(expected.expect.on_timeout, step.place()).because("");
            match limit(self.deadline, reading, timed_out).await? {
                Ok(0) => self.complete = true,
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                // What came before a reset is judged all the same.
                Err(_) if !self.received.is_empty() => self.complete = true,
                Err(error) => return Err(connection::broken(&error)),
            }
        }
    }

    fn judge(&self, expected: &HttpExpected, step: &Step) -> Result<Next, Verdict> {
        let Some(answer) = &self.answer else { return Err(not_connected()) };
        if answer.status == 404 && self.plan.disable_on_404() {
            return Ok(Next::End(Verdict::new(CheckResult::L7OkConditionally).with_code(404)));
        }
        let verdict = expected.judge(answer, step.comment.as_deref());
        if verdict.result.passed() { Ok(Next::Step(verdict)) } else { Err(verdict) }
    }

    async fn close(&mut self) {
        if let Some((mut stream, Manner::Clean)) = self.stream.take() {
            // The kernel sends what is left; an error says that nobody is there any more.
            let _ = timeout_at(self.deadline, stream.shutdown()).await;
        }
    }
}

/// `work`, or what it means when it is not done in time.
async fn limit<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Verdict>>,
    timed_out: impl FnOnce() -> Verdict,
) -> Result<T, Verdict> {
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Steps that the configuration would not have let through.
fn not_connected() -> Verdict {
    Verdict::saying(CheckResult::SocketError, "this step has no connection")
}
