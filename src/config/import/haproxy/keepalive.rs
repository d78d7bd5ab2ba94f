//! `clitcpka-idle` and its like: what keep-alive probes are like, where there are any.

use std::time::Duration;

use super::grammar::Statement;
use super::{Translator, value};
use crate::config::import::Word;
use crate::config::raw::{KeepAlive, Located, Maybe};
use crate::config::source::Location;

/// What a proxy says about its probes, or inherits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Probes {
    client: KeepAlive,
    server: KeepAlive,
}

impl Probes {
    /// Those towards clients, if `option clitcpka` has them.
    pub(super) fn client(self, on: Maybe<bool>, at: Location) -> Located<KeepAlive> {
        switched(self.client, on, at)
    }

    /// Those towards servers, if `option srvtcpka` has them.
    pub(super) fn server(self, on: Maybe<bool>, at: Location) -> Located<KeepAlive> {
        switched(self.server, on, at)
    }
}

fn switched(probes: KeepAlive, on: Maybe<bool>, at: Location) -> Located<KeepAlive> {
    on.unwrap_or(Located::new(false, at))
        .map(|on| if on { probes } else { KeepAlive { off: true, ..KeepAlive::default() } })
}

impl Translator<'_> {
    /// `clitcpka-cnt <count>`, `srvtcpka-idle <time>` and their like: `side` is `cli` or `srv`.
    pub(super) fn probe(
        &mut self,
        side: &str,
        what: &str,
        statement: &Statement,
        arguments: &[Word],
        probes: &mut Probes,
    ) {
        let probes = if side == "cli" { &mut probes.client } else { &mut probes.server };
        if what == "cnt" {
            probes.count = self.number(statement, arguments, 0..=127).filter(|count| count.value > 0);
            return;
        }
        let word = self.one(statement, arguments);
        let time = word.and_then(|word| self.checked(word, value::time_in_seconds(word.as_str())));
        // 0 is the kernel's own, which counts whole seconds.
        let time = time.filter(|time| !time.value.is_zero());
        let whole = |time: Duration| Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0));
        let whole = time.map(|time| time.map(whole));
        if what == "idle" {
            probes.idle = whole;
        } else {
            probes.interval = whole;
        }
    }
}
