//! `[[tracker]]`, and `track` of routers and groups.

use std::net::IpAddr;

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Fields, Value};
use crate::config::raw::{GatewayCheck, Located, ProcessCheck, RouteCheck, Track, Tracked, Tracker, Watched};
use crate::config::words;

impl Decoder<'_> {
    pub(super) fn tracker(&mut self, value: Value<'_>, key: &str) -> Option<Tracker> {
        let fields = self.table(value, key, &[&keys::TRACKER])?;
        self.require(fields, &keys::TRACKER, &["name"], "give it the name that routers use: name = \"uplink\"");
        Some(Tracker {
            at: value.at,
            name: self.field(fields, "name", Self::string),
            watched: self.watched(fields),
            interval: self.field(fields, "interval", Self::duration),
            timeout: self.field(fields, "timeout", Self::duration),
            rise: self.field(fields, "rise", Self::number),
            fall: self.field(fields, "fall", Self::number),
            up_delay: self.field(fields, "up-delay", Self::duration),
            down_delay: self.field(fields, "down-delay", Self::duration),
            starts_down: self.field(fields, "starts-down", Self::boolean),
            user: self.field(fields, "user", Self::user),
            initial: self.field(fields, "initial", Self::signed),
            weight: self.field(fields, "weight", Self::signed),
            reverse: self.field(fields, "reverse", Self::boolean),
        })
    }

    /// What of the things that can be watched is written; the validation wants one.
    fn watched(&mut self, fields: Fields<'_>) -> Vec<Located<Watched>> {
        let remedy = "say what is watched: script, process, file, service, gateway or route";
        let kinds = ["script", "process", "file", "service", "gateway", "route"];
        self.require(fields, &keys::TRACKER, &kinds, remedy);
        [
            self.field(fields, "script", Self::command_words).map(|script| script.map(Watched::Script)),
            self.field(fields, "process", Self::process).map(|process| process.map(Watched::Process)),
            self.field(fields, "file", Self::path).map(|file| file.map(Watched::File)),
            self.field(fields, "service", Self::string).map(|service| service.map(Watched::Service)),
            self.field(fields, "gateway", Self::gateway).map(|gateway| gateway.map(Watched::Gateway)),
            self.field(fields, "route", Self::route_check).map(|route| route.map(Watched::Route)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn process(&mut self, value: Value<'_>, key: &str) -> Option<ProcessCheck> {
        if !matches!(value.value, DeValue::Table(_)) {
            return Some(ProcessCheck {
                command: self.located(value, key)?,
                arguments: Vec::new(),
                arguments_match: None,
                whole_command: None,
                at_least: None,
                at_most: None,
            });
        }
        let fields = self.table(value, key, &[&keys::PROCESS])?;
        self.require(fields, &keys::PROCESS, &["command"], "name it: command = \"sshd\"");
        let command = self.field(fields, "command", Self::string);
        let arguments = self.list(fields, "arguments", Self::string);
        let arguments_match = self.field(fields, "match", |this, value, key| this.word(value, key, words::ARGUMENTS));
        let whole_command = self.field(fields, "whole-command", Self::boolean);
        let at_least = self.field(fields, "at-least", Self::number);
        let at_most = self.field(fields, "at-most", Self::number);
        Some(ProcessCheck { command: command?, arguments, arguments_match, whole_command, at_least, at_most })
    }

    fn gateway(&mut self, value: Value<'_>, key: &str) -> Option<GatewayCheck> {
        if !matches!(value.value, DeValue::Table(_)) {
            let address: IpAddr = self.ip_address(value, key)?;
            return Some(GatewayCheck { address: Located::new(address, value.at), interface: None, method: None });
        }
        let fields = self.table(value, key, &[&keys::GATEWAY])?;
        self.require(fields, &keys::GATEWAY, &["address"], "add address = \"192.0.2.254\"");
        let address = self.field(fields, "address", Self::ip_address);
        let interface = self.field(fields, "interface", Self::interface);
        let method = self.field(fields, "method", |this, value, key| this.word(value, key, words::METHODS));
        Some(GatewayCheck { address: address?, interface, method })
    }

    fn route_check(&mut self, value: Value<'_>, key: &str) -> Option<RouteCheck> {
        if !matches!(value.value, DeValue::Table(_)) {
            let destination = Located::new(self.prefix(value, key)?, value.at);
            return Some(RouteCheck { destination, gateway: None, interface: None });
        }
        let fields = self.table(value, key, &[&keys::ROUTE_CHECK])?;
        self.require(fields, &keys::ROUTE_CHECK, &["destination"], "add destination = \"0.0.0.0/0\"");
        let destination = self.field(fields, "destination", Self::prefix);
        let gateway = self.field(fields, "gateway", Self::ip_address);
        let interface = self.field(fields, "interface", Self::interface);
        Some(RouteCheck { destination: destination?, gateway, interface })
    }

    /// A name, or a table.
    pub(super) fn track(&mut self, value: Value<'_>, key: &str) -> Option<Track> {
        if !matches!(value.value, DeValue::Table(_)) {
            let what = self.located(value, key)?.map(Tracked::Either);
            return Some(Track { what, weight: None, reverse: None });
        }
        let fields = self.table(value, key, &[&keys::TRACK])?;
        let remedy = "say what is followed: interface = \"eth1\", or tracker = \"name\"";
        self.require(fields, &keys::TRACK, &["interface", "tracker"], remedy);
        let interface = self.field(fields, "interface", Self::interface);
        let tracker = self.field(fields, "tracker", Self::string);
        if let (Some(interface), Some(tracker)) = (&interface, &tracker) {
            self.error(interface.at.max(tracker.at), "an interface and a tracker: write two entries");
        }
        let weight = self.field(fields, "weight", Self::signed);
        let reverse = self.field(fields, "reverse", Self::boolean);
        let interface = interface.map(|interface| interface.map(Tracked::Interface));
        let what = interface.or_else(|| tracker.map(|tracker| tracker.map(Tracked::Tracker)))?;
        Some(Track { what, weight, reverse })
    }
}
