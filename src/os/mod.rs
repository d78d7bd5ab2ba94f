//! What the kernel offers, without an opinion: sockets, descriptors, events. Knows no protocol and no configuration file.

pub mod bpf;
pub mod caps;
pub mod child;
pub mod clock;
pub mod epoll;
pub mod eventfd;
mod filter;
pub mod icmp;
pub mod inherited;
pub mod netlink;
pub mod nft;
pub mod packet;
pub mod pipe;
pub mod port_owner;
pub mod process;
pub mod raw;
pub mod sched;
pub mod session;
pub mod sock_diag;
pub mod socket_owner;
pub mod tcp;
pub mod uring;
