//! A laboratory of network namespaces: nodes, links that can be cut, real partners, and the instruments that measure
//! what a client sees. Tests and the demonstration never touch a namespace themselves.
//!
//! ```text
//! lab, node, lan, process    namespaces, links that can be cut, processes that end with the laboratory
//! echo, silence, flows       servers that name themselves; clients that measure
//! ownership, adverts         who has the address; who announces himself
//! pauses                     what the machine itself was late with
//! forge, burst, load         faulty advertisements; many short connections; every core busy
//! siege                      clients that mean no good, and the one beside them
//! plan, gate, pair           one description, three subjects (TOML, foreign files, keepalived + HAProxy), one topology
//! report                     figures, printed past the test harness's capture
//! harness                    for tests that start themselves again
//! ```
#![expect(clippy::disallowed_methods, reason = "a laboratory measures real time on real sockets")]
#![expect(clippy::panic, clippy::expect_used, reason = "a broken laboratory ends the test that asked for it")]

pub mod adverts;
pub mod burst;
pub mod echo;
pub mod flows;
pub mod forge;
pub mod gate;
pub mod harness;
pub mod lab;
pub mod lan;
pub mod load;
pub mod node;
pub mod ownership;
pub mod pair;
pub mod pauses;
pub mod plan;
pub mod process;
pub mod report;
pub mod siege;
pub mod silence;
pub mod wait;
