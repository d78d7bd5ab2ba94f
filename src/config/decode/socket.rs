//! Options of sockets.

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Fields, Value};
use crate::config::raw::{ListenTuning, Located, Source};

impl Decoder<'_> {
    pub(super) fn listen_tuning(&mut self, fields: Fields<'_>) -> ListenTuning {
        ListenTuning {
            defer_accept: self.field(fields, "defer-accept", Self::duration),
            fast_open: self.field(fields, "fast-open", Self::number),
            max_segment: self.field(fields, "max-segment", Self::number),
            user_timeout: self.field(fields, "user-timeout", Self::duration),
        }
    }

    /// An address, or a table with more.
    pub(super) fn source(&mut self, value: Value<'_>, key: &str) -> Option<Source> {
        if !matches!(value.value, DeValue::Table(_)) {
            let address = self.ip_address(value, key)?;
            return Some(Source { address: Located::new(address, value.at), ports: None, interface: None });
        }
        let fields = self.table(value, key, &[&keys::SOURCE])?;
        self.require(fields, &keys::SOURCE, &["address"], "add address = \"10.0.0.5\"");
        let address = self.field(fields, "address", Self::ip_address);
        let ports = self.field(fields, "ports", |this, value, key| this.parsed(value, key, str::parse));
        let interface = self.field(fields, "interface", Self::interface);
        Some(Source { address: address?, ports, interface })
    }
}
