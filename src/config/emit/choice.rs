//! Keys of pools and servers about the choice of a server, beside the basics.

use super::{Keys, duration, policy, quoted, timeout, word};
use crate::config::raw::{PoolChoice, ServerChoice};
use crate::config::words;
use crate::model::Algorithm;

pub(super) fn balance(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Random(draws) if *draws != words::RANDOM_DRAWS => quoted(&format!("random({draws})")),
        other => word(words::BALANCE, other),
    }
}

pub(super) fn pool(keys: &mut Keys, choice: &PoolChoice) {
    keys.maybe("hash-type", &choice.hash_type, |kind| word(words::HASH_TYPES, kind));
    keys.maybe("hash-balance-factor", &choice.hash_balance_factor, u64::to_string);
    keys.maybe("redispatch-every", &choice.redispatch_every, u64::to_string);
    keys.maybe("queue-timeout", &choice.queue_timeout, timeout);
    keys.maybe("max-queue", &choice.max_queue, u64::to_string);
    keys.maybe("full-load", &choice.full_load, u64::to_string);
    keys.maybe("persist", &choice.persist, bool::to_string);
    keys.maybe("rdp-cookie", &choice.rdp_cookie, |name| quoted(name));
    keys.maybe("abort-on-close", &choice.abort_on_close, bool::to_string);
    keys.maybe("failback", &choice.failback, |failback| word(words::FAILBACK, failback));
    keys.maybe("refuse-with", &choice.refuse_with, |how| word(words::REFUSAL, how));
    keys.maybe("slow-start", &choice.slow_start, duration);
    policy::rules("server-rules", &choice.rules, keys);
    keys.maybe("server-inspect-delay", &choice.inspect_delay, duration);
    keys.maybe("server-state", &choice.server_state, |file| quoted(&file.to_string_lossy()));
}

pub(super) fn server(keys: &mut Keys, choice: &ServerChoice) {
    keys.maybe("min-connections", &choice.min_connections, u64::to_string);
    keys.maybe("max-queue", &choice.max_queue, u64::to_string);
    keys.maybe("slow-start", &choice.slow_start, duration);
    keys.maybe("non-stick", &choice.non_stick, bool::to_string);
    keys.maybe("track", &choice.track, |server| quoted(server));
    keys.maybe("error-limit", &choice.error_limit, u64::to_string);
    keys.maybe("on-error", &choice.on_error, |what| word(words::ON_ERROR, what));
    keys.maybe("on-marked-up", &choice.on_marked_up, |what| word(words::MARKED_UP, what));
}
