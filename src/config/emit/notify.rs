//! Commands, and who is told.

use super::{Keys, bracketed, duration, host, list, quoted};
use crate::config::raw::{Command, Fifo, Mail, MailServer, Notify, NotifyTargets, Scripts};
use crate::config::syntax;
use crate::model::User;

pub(super) fn scripts(raw: &Scripts) -> String {
    let mut lines = Keys::new("[scripts]");
    lines.maybe("user", &raw.user, user);
    lines.maybe("security", &raw.security, bool::to_string);
    lines.lines()
}

pub(super) fn targets(raw: &NotifyTargets) -> String {
    let mut lines = Keys::new("[notify]");
    lines.list("fifo", raw.fifos.iter().map(fifo));
    lines.lines()
}

fn fifo(raw: &Fifo) -> String {
    let mut keys = Keys::new("");
    keys.option("reader", raw.reader.as_ref().map(command));
    keys.or_inline("path", quoted(&raw.path.value.to_string_lossy()))
}

pub(super) fn mail(raw: &Mail) -> String {
    let mut lines = Keys::new("[mail]");
    lines.maybe("server", &raw.server, server);
    lines.maybe("helo", &raw.helo, |helo| quoted(helo));
    lines.maybe("from", &raw.from, |from| quoted(from));
    lines.add("to", list(raw.to.iter().map(|to| quoted(&to.value))));
    lines.maybe("timeout", &raw.timeout, duration);
    lines.maybe("routers", &raw.routers, bool::to_string);
    lines.maybe("servers", &raw.servers, bool::to_string);
    lines.maybe("faults", &raw.faults, bool::to_string);
    lines.maybe("gap", &raw.gap, duration);
    lines.lines()
}

fn server(raw: &MailServer) -> String {
    match raw.port {
        Some(port) => quoted(&format!("{}:{port}", bracketed(&raw.host))),
        None => quoted(&host(&raw.host)),
    }
}

pub(super) fn notify(raw: &Notify) -> String {
    let mut keys = Keys::new("");
    keys.option("master", raw.master.as_ref().map(command));
    keys.option("backup", raw.backup.as_ref().map(command));
    keys.option("fault", raw.fault.as_ref().map(command));
    keys.option("stop", raw.stop.as_ref().map(command));
    keys.option("any", raw.any.as_ref().map(command));
    keys.option("lower-priority", raw.lower_priority.as_ref().map(command));
    keys.maybe("mail", &raw.mail, bool::to_string);
    keys.inline()
}

pub(super) fn command(raw: &Command) -> String {
    let mut keys = Keys::new("");
    keys.maybe("user", &raw.user, user);
    keys.maybe("timeout", &raw.timeout, duration);
    keys.or_inline("command", words(&raw.words.value))
}

/// One string where that reads as the same words.
pub(super) fn words(words: &[String]) -> String {
    let joined = words.join(" ");
    match syntax::words(&joined) {
        Ok(split) if split == words => quoted(&joined),
        Ok(_) | Err(_) => list(words.iter().map(|word| quoted(word))),
    }
}

pub(super) fn user(raw: &User) -> String {
    match &raw.group {
        Some(group) => quoted(&format!("{}:{group}", raw.name)),
        None => quoted(&raw.name),
    }
}
