//! `mailers` and `email-alert`: mail when servers go and come. One [mail] speaks of all servers.

use std::time::Duration;

use super::Translator;
use super::grammar::{Section, Statement};
use super::proxy::{Kind, Proxy};
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::{Located, Mail, MailServer, Maybe};
use crate::config::{syntax, words};
use crate::model::Severity;

/// HAProxy's `timeout mail` when nothing is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A section `mailers`.
#[derive(Debug, Clone, Default)]
pub(super) struct Mailers {
    server: Maybe<MailServer>,
    timeout: Maybe<Duration>,
}

/// What a proxy says about mail, or inherits.
#[derive(Debug, Clone, Default)]
pub(super) struct MailSaid {
    mailers: Maybe<String>,
    from: Maybe<String>,
    to: Maybe<String>,
    level: Maybe<Severity>,
    host_name: Maybe<String>,
}

impl Translator<'_> {
    /// `mailers <name>`
    pub(super) fn mailers(&mut self, section: &Section) {
        let Some(name) = section.arguments.first() else {
            self.findings.error(section.kind.at, "`mailers` wants a name");
            return;
        };
        let mut said = Mailers::default();
        for statement in &section.statements {
            let Some((keyword, arguments)) = self.keyword("mailers", statement) else { continue };
            match (keyword.name, arguments) {
                ("mailer", [_, place]) => match syntax::host_port(place.as_str()) {
                    Ok(at) if said.server.is_none() => {
                        let server = MailServer { host: at.host, port: Some(at.port) };
                        said.server = Some(Located::new(server, place.at));
                    }
                    Ok(_) => {
                        let message = "mail goes by one server: this one gets none";
                        self.findings.push(Diagnostic::warning(statement.at(), message));
                    }
                    Err(invalid) => self.findings.error(place.at, invalid.to_string()),
                },
                ("mailer", _) => {
                    let message = "`mailer` wants a name and a place, as in `mailer smtp1 192.0.2.25:25`";
                    self.findings.error(statement.at(), message);
                }
                _ => {
                    let word = self.one(statement, arguments);
                    said.timeout = word.and_then(|word| self.checked(word, super::value::time(word.as_str())));
                }
            }
        }
        self.mailers.insert(name.text.clone(), said);
    }

    /// `email-alert from <address>` and its like.
    pub(super) fn email_alert(&mut self, what: &str, statement: &Statement, arguments: &[Word], said: &mut MailSaid) {
        let Some(word) = self.one(statement, arguments) else { return };
        let text = Some(Located::new(word.text.clone(), word.at));
        match what {
            "mailers" => said.mailers = text,
            "from" => said.from = text,
            "to" => said.to = text,
            "myhostname" => said.host_name = text,
            _ => said.level = self.log_word(word, word.as_str(), words::SEVERITIES, "a level"),
        }
    }

    /// The mail of all proxies that have servers.
    pub(super) fn mail(&mut self, proxies: &[Proxy]) {
        let backends =
            proxies.iter().filter(|proxy| !proxy.disabled && matches!(proxy.kind, Kind::Backend | Kind::Listen));
        let (told, silent): (Vec<_>, Vec<_>) =
            backends.filter(|proxy| !proxy.servers.is_empty()).partition(|proxy| proxy.mail.mailers.is_some());
        for proxy in told {
            self.mail_of(proxy);
        }
        if let (Some(mail), Some(proxy)) = (&self.config.mail, silent.first()) {
            let message = format!("mail speaks of all servers: of those of `{}`, too", proxy.name);
            let warning = Diagnostic::warning(mail.at, message);
            self.push_once(warning.related(proxy.at, "which asks for none"));
        }
    }

    fn mail_of(&mut self, proxy: &Proxy) {
        let MailSaid { mailers, from, to, level, host_name } = &proxy.mail;
        let Some(mailers) = mailers else { return };
        let (Some(from), Some(to)) = (from, to) else {
            let warning = Diagnostic::warning(mailers.at, "no mail is sent: nobody says from whom and to whom");
            return self.push_once(warning.help("add `email-alert from` and `email-alert to`"));
        };
        let Some(said) = self.mailers.get(&mailers.value).cloned() else {
            return self.push_once(Diagnostic::error(mailers.at, format!("there is no `mailers {}`", mailers.value)));
        };
        // A server that goes is an alert.
        if level.is_some_and(|level| level.value < Severity::Alert) {
            return;
        }
        let Some(mail) = &mut self.config.mail else {
            let at = mailers.at;
            let no = Some(Located::new(false, at));
            self.config.mail = Some(Mail {
                at,
                server: said.server,
                helo: host_name.clone(),
                from: Some(from.clone()),
                to: vec![to.clone()],
                timeout: said.timeout.or(Some(Located::new(DEFAULT_TIMEOUT, at))),
                routers: no,
                servers: Some(Located::new(true, at)),
                faults: no,
                gap: None,
            });
            return;
        };
        if !mail.to.iter().any(|known| known.value == to.value) {
            mail.to.push(to.clone());
        }
        let same = |one: &Maybe<MailServer>| {
            one.as_ref().map(|server| &server.value) == said.server.as_ref().map(|server| &server.value)
        };
        if !same(&mail.server) || mail.from.as_ref().is_some_and(|known| known.value != from.value) {
            let message = "all mail goes by the server and from the sender that are named first";
            let first = mail.at;
            self.push_once(Diagnostic::warning(mailers.at, message).related(first, "here"));
        }
    }
}
