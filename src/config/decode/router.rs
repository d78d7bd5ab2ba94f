//! `[[virtual-router]]`.

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Value};
use crate::config::raw::{Announce, Located, VirtualAddress, VirtualRouter};
use crate::config::words;
use crate::model::{InterfaceName, Prefix};

impl Decoder<'_> {
    pub(super) fn router(&mut self, value: Value<'_>, key: &str) -> Option<VirtualRouter> {
        let fields = self.table(value, key, &[&keys::ROUTER])?;
        self.require(fields, &keys::ROUTER, &["name"], "give it a name of your own: name = \"front\"");
        self.require(fields, &keys::ROUTER, &["interface"], "say where it advertises: interface = \"eth0\"");
        self.require(fields, &keys::ROUTER, &["vrid"], "number it, alike on both nodes: vrid = 51");
        self.require(fields, &keys::ROUTER, &["addresses"], "say what it owns: addresses = [\"192.0.2.100/24\"]");
        Some(VirtualRouter {
            at: value.at,
            name: self.field(fields, "name", Self::string),
            interface: self.field(fields, "interface", Self::interface),
            vrid: self.field(fields, "vrid", Self::number),
            addresses: self.list(fields, "addresses", Self::virtual_address),
            excluded_addresses: self.list(fields, "excluded-addresses", Self::virtual_address),
            priority: self.field(fields, "priority", Self::number),
            version: self.field(fields, "version", Self::number),
            interval: self.field(fields, "interval", Self::duration),
            start: self.field(fields, "start", |this, value, key| this.word(value, key, words::START)),
            preempt: self.field(fields, "preempt", Self::boolean),
            preempt_delay: self.field(fields, "preempt-delay", Self::duration),
            password: self.field(fields, "password", Self::secret),
            peers: self.list(fields, "peers", |this, value, key| {
                Some(Located::new(this.address(value, key, "an IP address")?, value.at))
            }),
            source: self.field(fields, "source", |this, value, key| this.address(value, key, "an IP address")),
            checksum: self.field(fields, "checksum", |this, value, key| this.word(value, key, words::CHECKSUM)),
            track_interfaces: self.list(fields, "track-interfaces", |this, value, key| {
                Some(Located::new(this.interface(value, key)?, value.at))
            }),
            fronts: fields.table.contains_key("fronts").then(|| {
                self.list(fields, "fronts", |this, value, key| Some(Located::new(this.string(value, key)?, value.at)))
            }),
            announce: self.field(fields, "announce", Self::announce).map(|located| located.value),
        })
    }

    pub(super) fn interface(&mut self, value: Value<'_>, key: &str) -> Option<InterfaceName> {
        self.parsed(value, key, str::parse)
    }

    fn virtual_address(&mut self, value: Value<'_>, key: &str) -> Option<VirtualAddress> {
        if !matches!(value.value, DeValue::Table(_)) {
            let prefix: Prefix = self.parsed(value, key, str::parse)?;
            let prefix = Located::new(prefix, value.at);
            return Some(VirtualAddress { prefix, interface: None, label: None, scope: None, broadcast: None });
        }
        let fields = self.table(value, key, &[&keys::ADDRESS])?;
        self.require(fields, &keys::ADDRESS, &["address"], "add address = \"192.0.2.100/24\"");
        let prefix = self.field(fields, "address", |this, value, key| this.parsed(value, key, str::parse));
        let interface = self.field(fields, "interface", Self::interface);
        let label = self.field(fields, "label", Self::string);
        let scope = self.field(fields, "scope", |this, value, key| this.word(value, key, words::SCOPES));
        let broadcast = self.field(fields, "broadcast", |this, value, key| this.address(value, key, "an IPv4 address"));
        Some(VirtualAddress { prefix: prefix?, interface, label, scope, broadcast })
    }

    fn announce(&mut self, value: Value<'_>, key: &str) -> Option<Announce> {
        let fields = self.table(value, key, &[&keys::ANNOUNCE])?;
        Some(Announce {
            at: value.at,
            count: self.field(fields, "count", Self::number),
            repeat_after: self.field(fields, "repeat-after", Self::duration),
            repeat_count: self.field(fields, "repeat-count", Self::number),
            refresh: self.field(fields, "refresh", Self::duration),
            refresh_count: self.field(fields, "refresh-count", Self::number),
            lower_priority_count: self.field(fields, "lower-priority-count", Self::number),
        })
    }
}
