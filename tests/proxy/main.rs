//! The data plane on the loopback, with real sockets. Each test has a /24 of 127/8 to itself.
#![expect(clippy::disallowed_methods, reason = "these tests are about sockets and time")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![expect(clippy::print_stdout, reason = "a test says what it could not compare with")]

mod abandoned;
mod figures;
mod hello;
mod limits;
mod maps;
mod operate;
mod oracle;
mod proxy_header;
mod queue;
mod rdp;
mod relaying;
mod reload;
mod rules;
mod semantics;
mod server_rules;
mod steering;
mod sticking;
mod support;
mod together;
mod upstream;
