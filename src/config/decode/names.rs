//! `[[resolver]]`, and the keys of a server about its name.

use std::net::SocketAddr;

use toml::de::DeValue;

use super::keys;
use super::reader::{Decoder, Fields, Value};
use crate::config::raw;
use crate::config::raw::{Host, Located, Maybe, Resolver, ServerNaming};
use crate::config::words;
use crate::model::{NameKind, NameServer, ServerPort};

impl Decoder<'_> {
    pub(super) fn resolver(&mut self, value: Value<'_>, key: &str) -> Option<Resolver> {
        let fields = self.table(value, key, &[&keys::RESOLVER])?;
        self.require(fields, &keys::RESOLVER, &["name"], "give it the name that servers use: name = \"office\"");
        let hold = self.field(fields, "hold", |this, value, key| {
            let fields = this.table(value, key, &[&keys::HOLD])?;
            Some(raw::Hold {
                nx: this.field(fields, "nx", Self::timeout),
                timeout: this.field(fields, "timeout", Self::timeout),
                refused: this.field(fields, "refused", Self::timeout),
                other: this.field(fields, "other", Self::timeout),
                obsolete: this.field(fields, "obsolete", Self::duration),
            })
        });
        Some(Resolver {
            at: value.at,
            name: self.field(fields, "name", Self::string),
            servers: self.list(fields, "servers", Self::name_server),
            system: self.field(fields, "system", Self::boolean),
            retries: self.field(fields, "retries", Self::number),
            timeout: self.field(fields, "timeout", Self::duration),
            least_refresh: self.field(fields, "least-refresh", Self::duration),
            most_refresh: self.field(fields, "most-refresh", Self::duration),
            payload_size: self.field(fields, "payload-size", Self::number),
            hold: hold.map(|hold| hold.value).unwrap_or_default(),
        })
    }

    /// `"192.0.2.53:53"`, or that with a name.
    fn name_server(&mut self, value: Value<'_>, key: &str) -> Maybe<NameServer> {
        let place = |this: &mut Self, value: Value<'_>, key: &str| -> Option<SocketAddr> {
            this.address(value, key, "an address with a port, such as \"192.0.2.53:53\"")
        };
        if !matches!(value.value, DeValue::Table(_)) {
            return Some(Located::new(place(self, value, key)?.into(), value.at));
        }
        let fields = self.table(value, key, &[&keys::NAME_SERVER])?;
        self.require(fields, &keys::NAME_SERVER, &["address"], "add address = \"192.0.2.53:53\"");
        let name = self.field(fields, "name", Self::string);
        let server = NameServer::from(self.field(fields, "address", place)?.value);
        let name = name.map_or(server.name, |name| name.value);
        Some(Located::new(NameServer { name, ..server }, value.at))
    }

    pub(super) fn server_naming(&mut self, fields: Fields<'_>) -> ServerNaming {
        ServerNaming {
            kind: None,
            most: self.field(fields, "most", Self::number),
            resolve: self.field(fields, "resolve", |this, value, key| this.word(value, key, words::RESOLVE)),
            resolver: self.field(fields, "resolver", Self::string),
            family: self.field(fields, "family", |this, value, key| this.word(value, key, words::FAMILIES)),
            networks: self
                .list(fields, "networks", |this, value, key| Some(Located::new(this.prefix(value, key)?, value.at))),
            share_address: self.field(fields, "share-address", Self::boolean),
            ignore_weight: self.field(fields, "ignore-weight", Self::boolean),
            initial: self.field(fields, "initial-address", Self::ip_address),
        }
    }

    /// `srv` instead of `address`.
    pub(super) fn service_name(
        &mut self,
        fields: Fields<'_>,
        naming: &mut ServerNaming,
    ) -> Maybe<(Host, Option<ServerPort>)> {
        let srv = self.field(fields, "srv", Self::string)?;
        naming.kind = Some(Located::new(NameKind::Service, srv.at));
        Some(srv.map(|name| (Host::Name(name, None), None)))
    }
}
