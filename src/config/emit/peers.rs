//! `[[peer-group]]`.

use super::{Keys, host_port, quoted};
use crate::config::raw::PeerGroup;

pub(super) fn group(raw: &PeerGroup) -> String {
    let mut lines = Keys::new("[[peer-group]]");
    lines.maybe("name", &raw.name, |name| quoted(name));
    lines.maybe("node", &raw.local, |name| quoted(name));
    lines.maybe("listen", &raw.listen, host_port);
    lines.list(
        "members",
        raw.members.iter().map(|member| {
            let mut keys = Keys::new("");
            keys.maybe("name", &member.name, |name| quoted(name));
            keys.add("address", host_port(&member.address.value));
            keys.inline()
        }),
    );
    lines.maybe("certificate", &raw.certificate, |file| quoted(&file.to_string_lossy()));
    lines.maybe("key", &raw.key, |file| quoted(&file.to_string_lossy()));
    lines.maybe("authority", &raw.authority, |file| quoted(&file.to_string_lossy()));
    lines.lines()
}
