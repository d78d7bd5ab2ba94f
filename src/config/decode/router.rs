//! `[[virtual-router]]` and `[[sync-group]]`.

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Value};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{Announce, Hmac, Located, Peer, SyncGroup, VirtualAddress, VirtualRouter, Vmac};
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
            hmac: self.field(fields, "hmac", Self::hmac).map(|located| located.value),
            peers: self.list(fields, "peers", Self::peer),
            only_peers: self.field(fields, "only-peers", Self::boolean),
            unicast_ttl: self.field(fields, "unicast-ttl", Self::number),
            group: self.field(fields, "group", Self::ip_address),
            source: self.field(fields, "source", Self::ip_address),
            paths: self
                .list(fields, "paths", |this, value, key| Some(Located::new(this.interface(value, key)?, value.at))),
            vmac: self.field(fields, "vmac", Self::vmac).and_then(|located| located.value),
            missed_adverts: self.field(fields, "missed-adverts", Self::number),
            start_delay: self.field(fields, "start-delay", Self::duration),
            checksum: self.field(fields, "checksum", |this, value, key| this.word(value, key, words::CHECKSUM)),
            routes: self.list(fields, "routes", Self::route),
            rules: self.list(fields, "rules", Self::rule),
            track: self.list(fields, "track", Self::track),
            fronts: fields.table.contains_key("fronts").then(|| self.list(fields, "fronts", Self::located)),
            announce: self.field(fields, "announce", Self::announce).map(|located| located.value),
            fight_limit: self.field(fields, "fight-limit", Self::number),
            notify: self.field(fields, "notify", Self::notify).map(|located| located.value),
            before_master: self.field(fields, "before-master", Self::command).map(|located| located.value),
            after_release: self.field(fields, "after-release", Self::command).map(|located| located.value),
        })
    }

    pub(super) fn group(&mut self, value: Value<'_>, key: &str) -> Option<SyncGroup> {
        let fields = self.table(value, key, &[&keys::GROUP])?;
        self.require(fields, &keys::GROUP, &["name"], "give it a name of your own: name = \"both\"");
        self.require(fields, &keys::GROUP, &["routers"], "name its routers: routers = [\"inside\", \"outside\"]");
        Some(SyncGroup {
            at: value.at,
            name: self.field(fields, "name", Self::string),
            routers: self.list(fields, "routers", Self::located),
            track: self.list(fields, "track", Self::track),
            member_weights: self.field(fields, "member-weights", Self::boolean),
            notify: self.field(fields, "notify", Self::notify).map(|located| located.value),
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
            ask: self
                .list(fields, "ask", |this, value, key| Some(Located::new(this.ip_address(value, key)?, value.at))),
        })
    }

    fn peer(&mut self, value: Value<'_>, key: &str) -> Option<Peer> {
        if !matches!(value.value, DeValue::Table(_)) {
            let address = Located::new(self.ip_address(value, key)?, value.at);
            return Some(Peer { address, min_ttl: None, max_ttl: None });
        }
        let fields = self.table(value, key, &[&keys::PEER])?;
        self.require(fields, &keys::PEER, &["address"], "add address = \"192.0.2.2\"");
        let address = self.field(fields, "address", Self::ip_address);
        let min_ttl = self.field(fields, "min-ttl", Self::number);
        let max_ttl = self.field(fields, "max-ttl", Self::number);
        Some(Peer { address: address?, min_ttl, max_ttl })
    }

    fn hmac(&mut self, value: Value<'_>, key: &str) -> Option<Hmac> {
        let fields = self.table(value, key, &[&keys::HMAC])?;
        self.require(fields, &keys::HMAC, &["key-id"], "number the key, alike on all nodes: key-id = 1");
        self.require(fields, &keys::HMAC, &["secret", "secret-file"], "add secret-file = \"/etc/vipgate/vrrp.key\"");
        let secret = self.field(fields, "secret", Self::secret);
        let secret_file = self.field(fields, "secret-file", Self::path);
        if let (Some(first), Some(second)) = (&secret, &secret_file) {
            let error = Diagnostic::error(first.at, "the secret is given twice").secret();
            self.diagnostics.push(error.related(second.at, "also here").help("keep one of the two"));
        }
        Some(Hmac { at: value.at, key_id: self.field(fields, "key-id", Self::number), secret, secret_file })
    }

    /// `true` and `false`, a name, or a table.
    fn vmac(&mut self, value: Value<'_>, key: &str) -> Option<Option<Vmac>> {
        let default = Vmac { at: value.at, name: None, from_base: None };
        match value.value {
            DeValue::Boolean(on) => Some(on.then_some(default)),
            DeValue::String(_) => {
                let name = Located::new(self.interface(value, key)?, value.at);
                Some(Some(Vmac { name: Some(name), ..default }))
            }
            DeValue::Table(_) => {
                let fields = self.table(value, key, &[&keys::VMAC])?;
                let name = self.field(fields, "name", Self::interface);
                let from_base = self.field(fields, "from-base", Self::boolean);
                Some(Some(Vmac { name, from_base, ..default }))
            }
            _ => {
                self.wrong_type(value, key, "true, a name, or a table such as { from-base = true }");
                None
            }
        }
    }
}
