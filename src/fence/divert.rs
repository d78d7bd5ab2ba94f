//! Marks packets for transparent sockets, so that routing leads them here although their address is somebody else's: see
//! [`returning`]. The table is owned: it is gone with the process, whatever ends it.

use super::{FenceError, FenceName, explain, open_socket, transact};
use crate::model::returning;
use crate::os::nft::NetfilterSocket;
use crate::wire::nft::{Batch, Expressions, Hook, INET_PRE_ROUTING, Meta, Table, TableFamily};

/// Where packets are marked for routing: `mangle`.
const PRIORITY: i32 = -150;
const TCP: &[u8] = &[6];
const YES: &[u8] = &[1];

/// What servers send to addresses that connections only pretend to come from is marked while this value lives.
#[derive(Debug)]
pub struct Divert {
    _owner: NetfilterSocket,
}

impl Divert {
    /// Marks from now on.
    pub fn open(name: &FenceName) -> Result<Self, FenceError> {
        let socket = open_socket()?;
        transact(&socket, marking(&name.divert)).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => FenceError::NoSocketMatch,
            _ => explain(error, &socket, &name.divert),
        })?;
        Ok(Self { _owner: socket })
    }
}

fn marking(name: &str) -> Batch {
    let table = Table { family: TableFamily::Inet, name };
    let mut batch = Batch::new();
    batch.new_table(table, true);
    batch.new_chain(table, "arriving", Some(Hook { number: INET_PRE_ROUTING, priority: PRIORITY }));
    let ours = Expressions::new().meta(Meta::TransportProtocol).equals(TCP).socket_transparent().equals(YES);
    batch.new_rule(table, "arriving", ours.meta(Meta::Mark).bits(0, returning::MARK).set_meta(Meta::Mark));
    batch
}
