//! `global_defs`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Translator;
use super::grammar::Node;
use crate::config::import::Word;
use crate::config::raw::{self, Command, Fifo, Located, Mail, MailServer, Maybe, NotifyTargets, Scripts};
use crate::config::source::Location;
use crate::config::syntax;
use crate::model::User;

/// What `global_defs` says for all instances.
#[derive(Debug, Default)]
pub(super) struct Globals {
    /// `vrrp_version`.
    pub(super) version: Maybe<u64>,
    /// `vrrp_garp_*`.
    garp: Garp,
    min_garp: Option<Location>,
    /// `vrrp_strict`.
    pub(super) strict: Maybe<bool>,
    /// `vrrp_mcast_group4`, `vrrp_mcast_group6`.
    pub(super) group4: Maybe<IpAddr>,
    pub(super) group6: Maybe<IpAddr>,
    /// `vrrp_check_unicast_src`.
    pub(super) check_source: Option<Location>,
    /// `vrrp_down_timer_adverts`.
    pub(super) missed_adverts: Maybe<u64>,
    /// `vrrp_startup_delay`.
    pub(super) start_delay: Maybe<Duration>,
    /// `vmac_prefix`.
    pub(super) vmac_prefix: Option<String>,
    mail: MailSaid,
    pub(super) user: Maybe<User>,
    pub(super) security: Maybe<bool>,
    fifos: [Option<Fifo>; 2],
    readers: [Option<Command>; 2],
}

/// What is said about mail.
#[derive(Debug, Default)]
struct MailSaid {
    to: Vec<Located<String>>,
    from: Maybe<String>,
    server: Maybe<MailServer>,
    helo: Maybe<String>,
    timeout: Maybe<Duration>,
    all: Maybe<bool>,
    routers: Maybe<bool>,
    servers: Maybe<bool>,
    no_faults: Option<Location>,
}

/// Announcement settings, global or of one instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Garp {
    pub(super) master_delay: Maybe<Duration>,
    pub(super) master_repeat: Maybe<u64>,
    pub(super) master_refresh: Maybe<Duration>,
    pub(super) master_refresh_repeat: Maybe<u64>,
    pub(super) lower_prio_repeat: Maybe<u64>,
}

impl Garp {
    /// As the raw table; none when nothing was said.
    pub(super) fn announce(&self) -> Option<raw::Announce> {
        let places = [
            self.master_delay.map(|value| value.at),
            self.master_repeat.map(|value| value.at),
            self.master_refresh.map(|value| value.at),
            self.master_refresh_repeat.map(|value| value.at),
            self.lower_prio_repeat.map(|value| value.at),
        ];
        Some(raw::Announce {
            at: places.into_iter().flatten().next()?,
            count: self.master_repeat,
            repeat_after: self.master_delay,
            repeat_count: self.master_repeat,
            refresh: self.master_refresh,
            refresh_count: self.master_refresh_repeat,
            // keepalived: what follows a lower-priority advertisement is as many as on becoming master.
            lower_priority_count: self.lower_prio_repeat.or(self.master_repeat),
            ask: Vec::new(),
        })
    }
}

/// Whom keepalived runs scripts as unless something else is said, if there is such a user.
pub(super) const USUAL_USER: &str = "keepalived_script";

impl Globals {
    /// `enable_script_security`
    pub(super) fn is_careful(&self) -> bool {
        self.security.is_some_and(|security| security.value)
    }

    /// What instances begin with: `vrrp_min_garp`, wherever it stands, is for what nothing else is said about.
    pub(super) fn garp(&self) -> Garp {
        let mut garp = self.garp.clone();
        if let Some(at) = self.min_garp {
            garp.master_repeat.get_or_insert(Located::new(1, at));
            garp.master_delay.get_or_insert(Located::new(Duration::ZERO, at));
            garp.master_refresh.get_or_insert(Located::new(Duration::ZERO, at));
        }
        garp
    }
}

impl Translator<'_> {
    pub(super) fn global_defs(&mut self, node: &Node, globals: &mut Globals, config: &mut raw::Config) {
        for child in node.children() {
            let Some(keyword) = self.look_up("global_defs", child) else { continue };
            match keyword {
                "router_id" => {
                    if let Some(word) = self.argument(child) {
                        let name = Located::new(word.text.clone(), word.at);
                        config.global.get_or_insert_with(|| raw::Global::empty(child.at())).node = Some(name);
                    }
                }
                "vrrp_version" => globals.version = self.number(child, 2..=3, "version 2 is used"),
                "vrrp_mcast_group4" => globals.group4 = self.group(child, "224.0.0.18"),
                "vrrp_mcast_group6" => globals.group6 = self.group(child, "ff02::12"),
                "vrrp_check_unicast_src" => globals.check_source = Some(child.at()).filter(|_| self.switch(child)),
                "vrrp_down_timer_adverts" => globals.missed_adverts = self.number(child, 1..=100, "3 is used"),
                "vrrp_startup_delay" => {
                    globals.start_delay = self.seconds(child, 0.001..=86_400.0, "no delay is used");
                }
                "vmac_prefix" => globals.vmac_prefix = self.argument(child).map(|word| word.text.clone()),
                // Read before the rest.
                "script_user" | "enable_script_security" => {}
                "notify_fifo" => globals.fifos[0] = self.fifo(child),
                "vrrp_notify_fifo" => globals.fifos[1] = self.fifo(child),
                "notify_fifo_script" => globals.readers[0] = self.command(child),
                "vrrp_notify_fifo_script" => globals.readers[1] = self.command(child),
                "vrrp_min_garp" => globals.min_garp = Some(child.at()).filter(|_| self.switch(child)),
                "vrrp_strict" => globals.strict = Some(Located::new(self.switch(child), child.at())),
                keyword if self.mail_line(keyword, child, &mut globals.mail) => {}
                keyword => self.garp(keyword.strip_prefix("vrrp_").unwrap_or(keyword), child, &mut globals.garp),
            }
        }
    }

    /// `garp_*` of an instance, `vrrp_garp_*` of `global_defs`.
    pub(super) fn garp(&mut self, keyword: &str, node: &Node, garp: &mut Garp) {
        const DEFAULT: &str = "the default is used";
        match keyword {
            "garp_master_delay" => {
                garp.master_delay = self.number(node, 0..=86_400, DEFAULT).map(|n| n.map(Duration::from_secs));
            }
            "garp_master_repeat" => garp.master_repeat = self.times(node),
            "garp_master_refresh" => {
                garp.master_refresh = self.number(node, 0..=86_400, DEFAULT).map(|n| n.map(Duration::from_secs));
            }
            "garp_master_refresh_repeat" => garp.master_refresh_repeat = self.times(node),
            "garp_lower_prio_repeat" => garp.lower_prio_repeat = self.number(node, 0..=1000, DEFAULT),
            _ => {}
        }
    }

    /// The group, unless it is the standard one.
    fn group(&mut self, node: &Node, standard: &str) -> Maybe<IpAddr> {
        let word = self.argument(node).filter(|word| word.text != standard)?;
        self.ip_address(word)
    }

    fn fifo(&mut self, node: &Node) -> Option<Fifo> {
        let word = self.argument(node)?;
        if let Some(user) = node.arguments().get(1) {
            self.findings.warning(user.at, "the pipe belongs to whom vipgate runs as: its user has no effect");
        }
        Some(Fifo { path: Located::new(PathBuf::from(&word.text), word.at), reader: None })
    }

    /// A line about mail; false for another keyword.
    fn mail_line(&mut self, keyword: &str, node: &Node, mail: &mut MailSaid) -> bool {
        let text = |this: &mut Self| this.argument(node).map(|word| Located::new(word.text.clone(), word.at));
        match keyword {
            "notification_email" => {
                let words = self.lines(node).iter().flat_map(|line| &line.words);
                mail.to.extend(words.filter_map(|word| self.mail_address(word)));
            }
            "notification_email_from" => mail.from = self.argument(node).and_then(|word| self.mail_address(word)),
            "smtp_helo_name" => mail.helo = text(self),
            "smtp_connect_timeout" => mail.timeout = self.some_seconds(node, "30 seconds are used"),
            "smtp_server" => {
                let port = node.arguments().get(1);
                mail.server = self.argument(node).and_then(|word| {
                    let colons = word.as_str().matches(':').count();
                    let name = if colons > 1 { format!("[{}]", word.text) } else { word.text.clone() };
                    let whole = port.map_or(name.clone(), |port| format!("{name}:{}", port.text));
                    match syntax::mail_server(&whole) {
                        Ok(server) => Some(Located::new(server, word.at)),
                        Err(error) => {
                            self.findings.warning(word.at, format!("{error}: no mail is sent"));
                            None
                        }
                    }
                });
            }
            "smtp_alert" => mail.all = Some(Located::new(self.switch(node), node.at())),
            "smtp_alert_vrrp" => mail.routers = Some(Located::new(self.switch(node), node.at())),
            "smtp_alert_checker" => mail.servers = Some(Located::new(self.switch(node), node.at())),
            "no_email_faults" => mail.no_faults = Some(node.at()),
            _ => return false,
        }
        true
    }

    /// A name without a domain is one of this host, as for sendmail; what is no address is left out.
    fn mail_address(&mut self, word: &Word) -> Maybe<String> {
        if syntax::is_mail_address(word.as_str()) {
            return Some(Located::new(word.text.clone(), word.at));
        }
        let local = format!("{}@{}", word.text, self.mail_domain());
        if word.text.contains('@') || !syntax::is_mail_address(&local) {
            self.findings.warning(word.at, format!("`{}` is not a mail address: ignored", word.text));
            return None;
        }
        self.findings.warning(word.at, format!("`{}` has no domain: `{local}` is used", word.text));
        Some(Located::new(local, word.at))
    }

    fn mail_domain(&self) -> String {
        Some(self.around.node_name()).filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
    }

    /// What `global_defs` said about mail, once instances and groups are known: their `smtp_alert` stands over it.
    pub(super) fn mail(&mut self, globals: &Globals, config: &mut raw::Config) {
        let said = &globals.mail;
        let (Some(server), [first, ..]) = (&said.server, said.to.as_slice()) else {
            let lone = said.server.as_ref().map(|server| server.at).or(said.to.first().map(|to| to.at));
            if let Some(at) = lone {
                self.findings.warning(at, "no mail is sent without both `smtp_server` and `notification_email`");
            }
            return;
        };
        let at = first.at;
        let on = |one: Maybe<bool>| one.or(said.all).is_some_and(|on| on.value);
        let routers = on(said.routers);
        for (router, notify) in config.routers.iter_mut().map(|router| (router.at, &mut router.notify)) {
            mailed(notify, routers, router);
        }
        for (group, notify) in config.groups.iter_mut().map(|group| (group.at, &mut group.notify)) {
            mailed(notify, routers, group);
        }
        let host = self.mail_domain();
        config.mail = Some(Mail {
            at,
            server: Some(server.clone()),
            helo: said.helo.clone(),
            from: Some(said.from.clone().unwrap_or_else(|| Located::new(format!("keepalived@{host}"), at))),
            to: said.to.clone(),
            timeout: said.timeout,
            routers: Some(Located::new(false, at)),
            servers: Some(Located::new(on(said.servers), at)),
            faults: said.no_faults.map(|at| Located::new(false, at)),
            gap: None,
        });
    }

    /// `[notify]` and `[scripts]`.
    pub(super) fn scripts(&mut self, globals: &mut Globals, config: &mut raw::Config) {
        let mut fifos = Vec::new();
        for (fifo, reader) in globals.fifos.iter_mut().zip(&mut globals.readers) {
            match (fifo.take(), reader.take()) {
                (Some(fifo), reader) => fifos.push(Fifo { reader, ..fifo }),
                (None, Some(reader)) => {
                    self.findings.warning(reader.words.at, "a script for a FIFO that is not named: ignored")
                }
                (None, None) => {}
            }
        }
        if let Some(first) = fifos.first() {
            config.notify = Some(NotifyTargets { at: first.path.at, fifos });
        }
        // keepalived runs them as this user if there is one, and is not careful unless it is told to be.
        let Some(at) = self.first_command else { return };
        let usual = || {
            let user = User { name: USUAL_USER.to_owned(), group: None };
            // Where that is not known, nothing runs as root by mistake.
            let wanted = self.elsewhere && globals.is_careful();
            (wanted || self.around.has_user(USUAL_USER)).then(|| Located::new(user, at))
        };
        config.scripts = Some(Scripts {
            at,
            user: globals.user.clone().or_else(usual),
            security: Some(globals.security.unwrap_or(Located::new(false, at))),
        });
    }
}

fn mailed(notify: &mut Option<raw::Notify>, default: bool, at: Location) {
    if !default && notify.is_none() {
        return;
    }
    let notify = notify.get_or_insert_with(|| raw::Notify::silent(at));
    notify.mail.get_or_insert(Located::new(default, at));
}
