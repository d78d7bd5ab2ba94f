//! Other speakers of VRRP on this node: a keepalived that still runs would fight over the addresses.

use crate::os::socket_owner;
use crate::wire::vrrp::PROTOCOL;

/// A process that holds a raw socket of protocol 112.
pub type ForeignSpeaker = socket_owner::SocketOwner;

/// The processes of this network namespace, other than this one, that hold a raw socket of protocol 112. Reads /proc:
/// as root it sees all, otherwise only its own user's.
#[must_use]
pub fn protocol_112_users() -> Vec<ForeignSpeaker> {
    let own = std::process::id();
    socket_owner::raw_socket_owners(PROTOCOL).into_iter().filter(|owner| owner.pid != own).collect()
}
