//! `[[peer-group]]`.

use super::keys;
use super::reader::{Decoder, Value};
use crate::config::raw::{Located, Member, PeerGroup};
use crate::config::syntax;

impl Decoder<'_> {
    pub(super) fn peer_group(&mut self, value: Value<'_>, key: &str) -> Option<PeerGroup> {
        let fields = self.table(value, key, &[&keys::PEER_GROUP])?;
        self.require(fields, &keys::PEER_GROUP, &["name"], "give it the name that tables use: name = \"nodes\"");
        Some(PeerGroup {
            at: value.at,
            name: self.field(fields, "name", Self::string),
            local: self.field(fields, "node", Self::string),
            listen: self.field(fields, "listen", |this, value, key| this.parsed(value, key, syntax::host_port)),
            members: self.list(fields, "members", Self::member),
            certificate: self.field(fields, "certificate", Self::path),
            key: self.field(fields, "key", Self::path),
            authority: self.field(fields, "authority", Self::path),
        })
    }

    fn member(&mut self, value: Value<'_>, key: &str) -> Option<Member> {
        let fields = self.table(value, key, &[&keys::MEMBER])?;
        self.require(fields, &keys::MEMBER, &["address"], "add address = \"192.0.2.2:10000\"");
        let name = self.field(fields, "name", Self::string);
        let address: Located<_> =
            self.field(fields, "address", |this, value, key| this.parsed(value, key, syntax::host_port))?;
        Some(Member { at: value.at, name, address })
    }
}
