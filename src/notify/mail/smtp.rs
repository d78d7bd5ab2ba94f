//! One dialogue with a mail server: plain SMTP, every step bounded, recipient by recipient.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Quit, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use tokio::net::TcpStream;

use crate::model::Mail;

use super::gather::{Letter, Report};
use super::text;

/// Addresses of the server's name that are tried.
const ADDRESSES: usize = 4;

/// Why nobody got it.
#[derive(Debug)]
struct Failure {
    kind: Kind,
    why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The server said no (5yz), or the mail cannot be made.
    Permanent,
    /// The server said not now (4yz).
    Transient,
    /// It said nothing that can be understood, or nothing in time: the dialogue is over.
    Broken,
}

/// Sends a letter to those it still has to reach.
pub(super) async fn deliver(mail: &Mail, node: &str, host: &str, letter: &Letter) -> Report {
    let mut report = Report::default();
    let mut to = Vec::new();
    for text in &letter.to {
        match mailbox(text) {
            Ok(recipient) => to.push((text, recipient)),
            Err(failure) => report.refused.push((text.clone(), failure.why)),
        }
    }
    if to.is_empty() {
        return report;
    }
    if let Err(failure) = converse(mail, node, host, letter, &to, &mut report).await {
        let settled =
            |text: &str| report.refused.iter().chain(&report.deferred).any(|(recipient, _)| recipient == text);
        let rest: Vec<_> = to
            .iter()
            .filter(|(text, _)| !settled(text))
            .map(|(text, _)| ((*text).clone(), failure.why.clone()))
            .collect();
        let (refused, deferred) = (&mut report.refused, &mut report.deferred);
        match failure.kind {
            Kind::Permanent => refused.extend(rest),
            Kind::Transient | Kind::Broken => deferred.extend(rest),
        }
    }
    report
}

async fn converse(
    mail: &Mail,
    node: &str,
    host: &str,
    letter: &Letter,
    to: &[(&String, Mailbox)],
    report: &mut Report,
) -> Result<(), Failure> {
    let from = mailbox(&mail.from)?;
    let message = compose(node, host, letter, &from, to.iter().map(|(_, mailbox)| mailbox))?;
    let stream = connect(mail).await?;
    let helo = helo(mail, host);
    let greeting = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &helo);
    // Two answers: to the connection and to EHLO.
    let mut connection = answer(mail.timeout.saturating_mul(2), "its greeting", greeting).await?;
    let sender = MailFrom::new(Some(from.email), Vec::new());
    answer(mail.timeout, "MAIL", connection.command(sender)).await?;
    let mut accepted = Vec::new();
    for (text, mailbox) in to {
        let recipient = Rcpt::new(mailbox.email.clone(), Vec::new());
        match answer(mail.timeout, "RCPT", connection.command(recipient)).await {
            Ok(_) => accepted.push((*text).clone()),
            Err(failure) => match failure.kind {
                Kind::Permanent => report.refused.push(((*text).clone(), failure.why)),
                Kind::Transient => report.deferred.push(((*text).clone(), failure.why)),
                Kind::Broken => return Err(failure),
            },
        }
    }
    if !accepted.is_empty() {
        answer(mail.timeout, "DATA", connection.command(Data)).await?;
        answer(mail.timeout, "the message", connection.message(&message)).await?;
        report.accepted = accepted;
    }
    // The message is the server's now, whatever it says to this.
    let _: Result<Response, _> = answer(mail.timeout.min(GOODBYE), "QUIT", connection.command(Quit)).await;
    Ok(())
}

/// How long the answer to QUIT is waited for.
const GOODBYE: Duration = Duration::from_secs(2);

async fn connect(mail: &Mail) -> Result<TcpStream, Failure> {
    let server = mail.server.as_str();
    // Resolved by a thread of the runtime's pool; this one goes on.
    let looked_up = tokio::time::timeout(mail.timeout, tokio::net::lookup_host((server, mail.port))).await;
    let addresses = looked_up
        .map_err(|_| broken(format!("no answer about the name {server} within {:?}", mail.timeout)))?
        .map_err(|error| broken(format!("the name {server} is not known: {error}")))?;
    let mut why = format!("the name {server} has no address");
    for address in addresses.take(ADDRESSES) {
        match tokio::time::timeout(mail.timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = format!("no connection to {address}: {error}"),
            Err(_) => why = format!("no connection to {address} within {:?}", mail.timeout),
        }
    }
    Err(broken(why))
}

/// The server's answer, in time.
async fn answer<T>(
    limit: Duration,
    what: &str,
    answered: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            let kind = match (error.is_permanent(), error.is_transient()) {
                (true, _) => Kind::Permanent,
                (false, true) => Kind::Transient,
                (false, false) => Kind::Broken,
            };
            Err(Failure { kind, why: format!("{what}: {}", causes(&error)) })
        }
        Err(_) => Err(broken(format!("{what}: no answer within {limit:?}"))),
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

fn broken(why: String) -> Failure {
    Failure { kind: Kind::Broken, why }
}

fn mailbox(text: &str) -> Result<Mailbox, Failure> {
    text.parse().map_err(|error| {
        let why = format!("{text:?} is no mail address ({error}): it must be name@domain");
        Failure { kind: Kind::Permanent, why }
    })
}

/// The message's bytes. Its Message-ID is the same at every attempt, so that a server or reader can drop a second copy.
fn compose<'a>(
    node: &str,
    host: &str,
    letter: &Letter,
    from: &Mailbox,
    to: impl Iterator<Item = &'a Mailbox>,
) -> Result<Vec<u8>, Failure> {
    let date = text::date(letter);
    let nanoseconds = date.duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let domain = if is_domain(host) { host } else { "localhost" };
    let id = format!("<{nanoseconds}.{}.{}@{domain}>", letter.number, std::process::id());
    let head = lettre::Message::builder()
        .from(from.clone())
        .subject(text::subject(letter, node))
        .date(date)
        .message_id(Some(id))
        .user_agent("vipgate".to_owned())
        .header(lettre::message::header::ContentType::TEXT_PLAIN);
    let message = to.fold(head, |head, mailbox| head.to(mailbox.clone())).body(text::body(letter));
    let message =
        message.map_err(|error| Failure { kind: Kind::Permanent, why: format!("no mail can be made: {error}") })?;
    Ok(message.formatted())
}

/// The name said in EHLO. One with a character that no host name has would break the dialogue.
fn helo(mail: &Mail, host: &str) -> ClientId {
    let name = mail.helo.as_deref().unwrap_or(host);
    match name.trim_matches(['[', ']']).parse() {
        Ok(std::net::IpAddr::V4(address)) => ClientId::Ipv4(address),
        Ok(std::net::IpAddr::V6(address)) => ClientId::Ipv6(address),
        Err(_) if is_domain(name) => ClientId::Domain(name.to_owned()),
        Err(_) => ClientId::default(),
    }
}

fn is_domain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || "-._".contains(character))
}
