//! Local networks: a bridge in the switch, and links to it that can be cut in the ways links fail.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::node::Node;

/// A local network.
#[derive(Debug, Clone)]
pub struct Lan {
    switch: Node,
    bridge: String,
    ports: Arc<AtomicU32>,
}

/// A node's link to a local network.
#[derive(Debug, Clone)]
pub struct Link {
    node: Node,
    switch: Node,
    bridge: String,
    /// The switch's end.
    port: String,
    /// The node's end.
    interface: String,
}

/// How a link is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The cable is pulled: the node sees its carrier go.
    Carrier,
    /// The switch forwards nothing any more: the node's carrier stays.
    Silent,
}

impl Lan {
    pub(crate) fn create(switch: &Node, name: &str, ports: Arc<AtomicU32>) -> Self {
        // Plain hub-like switching: no spanning tree, no multicast snooping, frames of 224.0.0.18 go everywhere.
        switch.ip(&format!(
            "link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0\nlink set {name} up"
        ));
        // Nor does a switch filter, where the machine has the module that makes bridges do.
        for family in ["ip", "ip6", "arp"] {
            let setting = format!("net/bridge/bridge-nf-call-{family}tables");
            if Path::new("/proc/sys").join(&setting).exists() {
                switch.sysctl(&setting, "0");
            }
        }
        Self { switch: switch.clone(), bridge: name.to_owned(), ports }
    }

    /// Links `node` to the network through its `interface`, with `addresses`.
    #[track_caller]
    pub fn attach(&self, node: &Node, interface: &str, addresses: &[&str]) -> Link {
        let port = format!("p{}", self.ports.fetch_add(1, Ordering::Relaxed));
        self.switch.ip(&format!(
            "link add {port} type veth peer name {interface} netns {}\nlink set {port} master {} up",
            node.namespace(),
            self.bridge
        ));
        let mut lines = format!("link set {interface} up\n");
        for address in addresses {
            let flags = if address.contains(':') { " nodad" } else { "" };
            lines.push_str(&format!("addr add {address} dev {interface}{flags}\n"));
        }
        node.ip(&lines);
        Link {
            node: node.clone(),
            switch: self.switch.clone(),
            bridge: self.bridge.clone(),
            port,
            interface: interface.to_owned(),
        }
    }

    /// The switch it is part of.
    #[must_use]
    pub fn switch(&self) -> &Node {
        &self.switch
    }
}

impl Link {
    /// Cuts it.
    #[track_caller]
    pub fn cut(&self, how: Cut) {
        let port = &self.port;
        match how {
            Cut::Carrier => self.switch.ip(&format!("link set {port} down")),
            Cut::Silent => self.switch.ip(&format!("link set {port} nomaster")),
        }
    }

    /// Mends it, however it was cut.
    #[track_caller]
    pub fn restore(&self) {
        self.switch.ip(&format!("link set {} master {} up", self.port, self.bridge));
    }

    /// The administrator sets the node's interface down (its addresses of IPv6 go with it, those of IPv4 stay).
    #[track_caller]
    pub fn admin_down(&self) {
        self.node.ip(&format!("link set {} down", self.interface));
    }

    /// The administrator sets the node's interface up again.
    #[track_caller]
    pub fn admin_up(&self) {
        self.node.ip(&format!("link set {} up", self.interface));
    }

    /// The node's end.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The switch's end.
    #[must_use]
    pub fn port(&self) -> &str {
        &self.port
    }

    /// The node it belongs to.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }
}
