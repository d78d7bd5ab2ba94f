//! `[[stats-socket]]`.

use super::keys;
use super::reader::{Decoder, Value};
use crate::config::raw::StatsSocket;
use crate::config::words;

impl Decoder<'_> {
    pub(super) fn stats_socket(&mut self, value: Value<'_>, key: &str) -> Option<StatsSocket> {
        let fields = self.table(value, key, &[&keys::STATS_SOCKET])?;
        Some(StatsSocket {
            at: value.at,
            address: self.field(fields, "address", Self::string),
            mode: self.field(fields, "mode", Self::string),
            user: self.field(fields, "user", Self::string),
            group: self.field(fields, "group", Self::string),
            level: self.field(fields, "level", |this, value, key| this.word(value, key, words::ACCESS)),
            timeout: self.field(fields, "timeout", Self::duration),
            max_connections: self.field(fields, "max-connections", Self::number),
        })
    }
}
