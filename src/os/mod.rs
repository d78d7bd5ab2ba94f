//! What the kernel offers, without an opinion: sockets, descriptors, events. Knows no protocol and no configuration file.

pub mod netlink;
pub mod packet;
pub mod process;
pub mod raw;
pub mod sched;
