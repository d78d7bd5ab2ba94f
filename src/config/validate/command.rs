//! Commands, and who is told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::findings::{Findings, LONGEST, Unique};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{self, Host, Located};
use crate::config::syntax;
use crate::model::{Command, Fifo, Mail, Notify, NotifyTargets, User};

/// Notifications wait for each other in one queue; this bounds how long one that hangs delays the next.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(60);
/// Hooks hold up a takeover or the end.
const HOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Beyond this, a hook that hangs is an outage.
const LONG_HOOK: Duration = Duration::from_secs(30);

/// What holds for every command.
pub(super) struct Commands {
    user: Option<User>,
    /// `[mail]` is configured.
    mail: bool,
}

/// Whom a [`Notify`] belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Router,
    Group,
}

impl Commands {
    pub(super) fn new(raw: &raw::Config) -> Self {
        let user = raw.scripts.as_ref().and_then(|scripts| scripts.user.as_ref()).map(|user| user.value.clone());
        Self { user, mail: raw.mail.is_some() }
    }

    /// A command that may run for `timeout` unless it says otherwise.
    fn command(&self, raw: &raw::Command, timeout: Duration, findings: &mut Findings<'_>) -> Command {
        let timeout = findings.positive(&raw.timeout, "timeout").unwrap_or(timeout);
        self.words(&raw.words, raw.user.as_ref(), timeout, findings)
    }

    pub(super) fn words(
        &self,
        words: &Located<Vec<String>>,
        user: Option<&Located<User>>,
        timeout: Duration,
        findings: &mut Findings<'_>,
    ) -> Command {
        let program = PathBuf::from(words.value.first().map_or("", String::as_str));
        if !program.is_absolute() {
            findings.warning(
                words.at,
                format!("`{}` is not an absolute path", program.display()),
                "it is looked for in the usual directories: write the whole path",
            );
        }
        Command {
            program,
            arguments: words.value.iter().skip(1).cloned().collect(),
            user: user.map(|user| user.value.clone()).or_else(|| self.user.clone()),
            timeout,
        }
    }

    /// Something that `waiting` waits for.
    pub(super) fn hook(&self, raw: &raw::Command, waiting: &str, findings: &mut Findings<'_>) -> Command {
        let command = self.command(raw, HOOK_TIMEOUT, findings);
        if let Some(timeout) = raw.timeout.filter(|_| command.timeout > LONG_HOOK) {
            let message = format!("{waiting} may have to wait for this hook all that time");
            findings.warning(timeout.at, message, "write at most \"30s\", and leave the rest to `notify`");
        }
        command
    }

    pub(super) fn notify(&self, raw: Option<&raw::Notify>, told: Told, findings: &mut Findings<'_>) -> Notify {
        let Some(raw) = raw else { return Notify::default() };
        if let Some(command) = raw.lower_priority.as_ref().filter(|_| told == Told::Group) {
            let message = "a group hears no advertisements: `lower-priority` has no effect";
            findings.warning(command.words.at, message, "write it at its routers");
        }
        if let Some(mail) = raw.mail.filter(|mail| mail.value && !self.mail) {
            findings.warning(
                mail.at,
                "`mail` has no effect: there is no [mail]",
                "add [mail] with server, from and to (`smtp_server` and `notification_email` in keepalived.conf)",
            );
        }
        let mut on = |raw: &Option<raw::Command>| raw.as_ref().map(|raw| self.command(raw, NOTIFY_TIMEOUT, findings));
        Notify {
            master: on(&raw.master),
            backup: on(&raw.backup),
            fault: on(&raw.fault),
            stop: on(&raw.stop),
            any: on(&raw.any),
            lower_priority: on(&raw.lower_priority).filter(|_| told == Told::Router),
            mail: raw.mail.is_some_and(|mail| mail.value),
        }
    }

    pub(super) fn targets(&self, raw: &raw::Config, findings: &mut Findings<'_>) -> NotifyTargets {
        let mut seen = Unique::new();
        let mut fifos = Vec::new();
        for fifo in raw.notify.iter().flat_map(|notify| &notify.fifos) {
            absolute(&fifo.path, findings);
            if let Some(first) = seen.insert(&fifo.path.value, fifo.path.at) {
                let error = Diagnostic::error(fifo.path.at, "this pipe is named twice");
                findings.push(error.related(first, "the first is here").help("remove one of the two"));
            }
            // It runs as long as the process.
            if let Some(timeout) = fifo.reader.as_ref().and_then(|reader| reader.timeout) {
                findings.warning(timeout.at, "a reader has no timeout: it runs as long as vipgate", "remove it");
            }
            let reader = fifo.reader.as_ref();
            fifos.push(Fifo {
                path: fifo.path.value.clone(),
                reader: reader.map(|raw| self.words(&raw.words, raw.user.as_ref(), LONGEST, findings)),
            });
        }
        NotifyTargets { fifos, mail: raw.mail.as_ref().and_then(|raw| mail(raw, findings)) }
    }
}

pub(super) fn absolute(path: &Located<PathBuf>, findings: &mut Findings<'_>) {
    if !Path::new(&path.value).is_absolute() {
        let message = format!("`{}` is not an absolute path", path.value.display());
        findings.error(path.at, message, "begin it with `/`: a daemon has no directory of its own");
    }
}

fn mail(raw: &raw::Mail, findings: &mut Findings<'_>) -> Option<Mail> {
    let server = findings.required(&raw.server, "server", raw.at);
    let from = findings.required(&raw.from, "from", raw.at);
    if raw.to.is_empty() {
        findings.missing(raw.at, "nobody gets this mail", "add to = [\"admin@example.org\"]");
    }
    from.into_iter().chain(&raw.to).for_each(|address| mail_address(address, findings));
    if let Some(helo) = &raw.helo {
        findings.name(helo, "helo");
    }
    let timeout = findings.positive(&raw.timeout, "timeout").unwrap_or(Duration::from_secs(30));
    let gap = findings.duration(&raw.gap, "gap", Duration::from_secs(10));
    let server = &server?.value;
    Some(Mail {
        server: match &server.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name, _) => name.clone(),
            // Of servers only.
            Host::Destination => return None,
        },
        port: server.port.unwrap_or(25),
        helo: raw.helo.as_ref().map(|helo| helo.value.clone()),
        from: from?.value.clone(),
        to: raw.to.iter().map(|to| to.value.clone()).collect(),
        timeout,
        routers: raw.routers.is_none_or(|routers| routers.value),
        servers: raw.servers.is_none_or(|servers| servers.value),
        faults: raw.faults.is_none_or(|faults| faults.value),
        gap,
    })
}

fn mail_address(address: &Located<String>, findings: &mut Findings<'_>) {
    let text = address.value.as_str();
    if !syntax::is_mail_address(text) {
        findings.error(address.at, format!("`{text}` is not a mail address"), "write it as \"admin@example.org\"");
    }
}
