//! Keys of pools and servers about the choice of a server, beside the basics.

use super::reader::{Decoder, Fields, Value};
use crate::config::diagnostic::Diagnostic;
use crate::config::raw::{PoolChoice, ServerChoice};
use crate::config::words;
use crate::model::Algorithm;

impl Decoder<'_> {
    /// A word, or `random(n)`.
    pub(super) fn balance(&mut self, value: Value<'_>, key: &str) -> Option<Algorithm> {
        let Some(draws) = value.value.as_str().and_then(words::random_draws) else {
            return self.word(value, key, words::BALANCE);
        };
        if draws.is_none() {
            let error = Diagnostic::error(value.at, "`random` draws a whole number of servers, at least 1");
            self.diagnostics.push(error.help("write \"random\" for two, or \"random(3)\""));
        }
        draws.map(Algorithm::Random)
    }

    pub(super) fn pool_choice(&mut self, fields: Fields<'_>) -> PoolChoice {
        PoolChoice {
            hash_type: self.field(fields, "hash-type", |this, value, key| this.word(value, key, words::HASH_TYPES)),
            hash_balance_factor: self.field(fields, "hash-balance-factor", Self::number),
            redispatch_every: self.field(fields, "redispatch-every", Self::number),
            queue_timeout: self.field(fields, "queue-timeout", Self::timeout),
            max_queue: self.field(fields, "max-queue", Self::number),
            full_load: self.field(fields, "full-load", Self::number),
            persist: self.field(fields, "persist", Self::boolean),
            rdp_cookie: self.field(fields, "rdp-cookie", Self::string),
            abort_on_close: self.field(fields, "abort-on-close", Self::boolean),
            failback: self.field(fields, "failback", |this, value, key| this.word(value, key, words::FAILBACK)),
            refuse_with: self.field(fields, "refuse-with", |this, value, key| this.word(value, key, words::REFUSAL)),
            slow_start: self.field(fields, "slow-start", Self::duration),
            rules: self.list(fields, "server-rules", Self::pool_rule),
            inspect_delay: self.field(fields, "server-inspect-delay", Self::duration),
            server_state: self.field(fields, "server-state", Self::path),
        }
    }

    pub(super) fn server_choice(&mut self, fields: Fields<'_>) -> ServerChoice {
        ServerChoice {
            min_connections: self.field(fields, "min-connections", Self::number),
            max_queue: self.field(fields, "max-queue", Self::number),
            slow_start: self.field(fields, "slow-start", Self::duration),
            non_stick: self.field(fields, "non-stick", Self::boolean),
            track: self.field(fields, "track", Self::string),
            error_limit: self.field(fields, "error-limit", Self::number),
            on_error: self.field(fields, "on-error", |this, value, key| this.word(value, key, words::ON_ERROR)),
            on_marked_up: self
                .field(fields, "on-marked-up", |this, value, key| this.word(value, key, words::MARKED_UP)),
        }
    }
}
