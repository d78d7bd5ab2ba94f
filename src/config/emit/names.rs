//! `[[resolver]]`, and the keys of a server about its name.

use super::{Keys, duration, quoted, timeout, word};
use crate::config::raw::{Resolver, ServerNaming};
use crate::config::words;
use crate::model::NameServer;

pub(super) fn resolver(raw: &Resolver) -> String {
    let mut lines = Keys::new("[[resolver]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    lines.list("servers", raw.servers.iter().map(|server| name_server(&server.value)));
    lines.maybe("system", &raw.system, bool::to_string);
    lines.maybe("retries", &raw.retries, u64::to_string);
    lines.maybe("timeout", &raw.timeout, duration);
    lines.maybe("least-refresh", &raw.least_refresh, duration);
    lines.maybe("most-refresh", &raw.most_refresh, duration);
    lines.maybe("payload-size", &raw.payload_size, u64::to_string);
    let mut hold = Keys::new("");
    hold.maybe("nx", &raw.hold.nx, timeout);
    hold.maybe("timeout", &raw.hold.timeout, timeout);
    hold.maybe("refused", &raw.hold.refused, timeout);
    hold.maybe("other", &raw.hold.other, timeout);
    hold.maybe("obsolete", &raw.hold.obsolete, duration);
    if !hold.is_empty() {
        lines.add("hold", hold.inline());
    }
    lines.lines()
}

fn name_server(server: &NameServer) -> String {
    let address = quoted(&server.address.to_string());
    let mut keys = Keys::new("");
    if *server != NameServer::from(server.address) {
        keys.add("name", quoted(&server.name));
    }
    keys.or_inline("address", address)
}

pub(super) fn server(keys: &mut Keys, naming: &ServerNaming) {
    keys.maybe("most", &naming.most, u64::to_string);
    keys.maybe("resolve", &naming.resolve, |when| word(words::RESOLVE, when));
    keys.maybe("resolver", &naming.resolver, |name| quoted(name));
    keys.maybe("family", &naming.family, |family| word(words::FAMILIES, family));
    keys.list("networks", naming.networks.iter().map(|network| quoted(&network.value.to_string())));
    keys.maybe("share-address", &naming.share_address, bool::to_string);
    keys.maybe("ignore-weight", &naming.ignore_weight, bool::to_string);
    keys.maybe("initial-address", &naming.initial, |address| quoted(&address.to_string()));
}
