//! Options of sockets.

use std::net::{AddrParseError, SocketAddr};

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Fields, Value};
use crate::config::raw::{KeepAlive, ListenTuning, Located, Source};
use crate::model::{Invalid, Transparent};

impl Decoder<'_> {
    pub(super) fn listen_tuning(&mut self, fields: Fields<'_>) -> ListenTuning {
        ListenTuning {
            defer_accept: self.field(fields, "defer-accept", Self::duration),
            fast_open: self.field(fields, "fast-open", Self::number),
            max_segment: self.field(fields, "max-segment", Self::number),
            user_timeout: self.field(fields, "user-timeout", Self::duration),
        }
    }

    /// Whether there are probes, or what they are like.
    pub(super) fn keepalive(&mut self, value: Value<'_>, key: &str) -> Option<KeepAlive> {
        if !matches!(value.value, DeValue::Table(_)) {
            return self.boolean(value, key).map(|on| KeepAlive { off: !on, ..KeepAlive::default() });
        }
        let fields = self.table(value, key, &[&keys::KEEPALIVE])?;
        Some(KeepAlive {
            off: false,
            idle: self.field(fields, "idle", Self::duration),
            interval: self.field(fields, "interval", Self::duration),
            count: self.field(fields, "count", Self::number),
        })
    }

    /// An address, or a table with more.
    pub(super) fn source(&mut self, value: Value<'_>, key: &str) -> Option<Source> {
        if !matches!(value.value, DeValue::Table(_)) {
            let address = Located::new(self.ip_address(value, key)?, value.at);
            return Some(Source { address: Some(address), ..Source::default() });
        }
        let fields = self.table(value, key, &[&keys::SOURCE])?;
        self.require(fields, &keys::SOURCE, &["address", "transparent"], "add address = \"10.0.0.5\"");
        let address = self.field(fields, "address", Self::ip_address);
        let ports = self.field(fields, "ports", |this, value, key| this.parsed(value, key, str::parse));
        let interface = self.field(fields, "interface", Self::interface);
        let transparent = self.field(fields, "transparent", |this, value, key| this.parsed(value, key, transparent));
        Some(Source { address, ports, interface, transparent })
    }
}

fn transparent(text: &str) -> Result<Transparent, Invalid> {
    match text {
        "client" => Ok(Transparent::Client),
        "client-ip" => Ok(Transparent::ClientIp),
        _ => text.parse().or_else(|_| Ok(SocketAddr::new(text.parse()?, 0))).map(Transparent::Address).map_err(
            |_: AddrParseError| Invalid(format!("`{text}` is neither \"client\", \"client-ip\" nor an IP address")),
        ),
    }
}
