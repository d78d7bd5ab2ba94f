//! TLS sessions resume where they were made: four servers that share no key, clients that come back in random order, and
//! HAProxy beside it. Skipped, loudly, where nginx, openssl, Java or HAProxy is not installed.

#![expect(clippy::disallowed_methods, reason = "tests with real sockets need a clock")]

#[cfg(test)]
mod checks;
#[cfg(test)]
mod client;
#[cfg(test)]
mod fronts;
#[cfg(test)]
mod java;
#[cfg(test)]
mod servers;

#[cfg(test)]
mod scenarios;
