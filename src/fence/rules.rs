//! What the fence is made of: two tables of the user's kernel, and their two counterparts that live as long as we do.
//!
//! ```text
//! priority -500   NAME-alive (owned)   from or to an address of ours: set the mark's bit
//! priority -499   NAME (stays)         from or to an address of ours: bit set? clear it, pass : drop
//! ```
//!
//! Both look at what is for this node and at what it sends: what it forwards or bridges is not their matter. No usual rule
//! runs as early in these hooks, so nobody else sees the bit; on other packets the mark is not touched. When the owned
//! table goes, what is from or to our addresses is dropped: ARP for IPv4, neighbour solicitations for IPv6, and traffic.
//! The node's traffic with itself passes, and so does VRRP.
//!
//! A rule that accepts would not do in place of the mark: the table that drops is asked all the same.

use std::net::IpAddr;

use super::FenceName;
use crate::wire::nft::{
    ARP_IN, ARP_OUT, Base, Batch, Expressions, Hook, INET_LOCAL_IN, INET_LOCAL_OUT, Meta, Table, TableFamily,
};

/// The bit of the packet mark that says "alive". WireGuard, Kubernetes, Tailscale and Calico use lower ones.
const ALIVE: u32 = 1 << 28;

const MARKING: i32 = -500;
const DECIDING: i32 = -499;

const IPV4: &[u8] = &[2];
const IPV6: &[u8] = &[10];
const ICMPV6: &[u8] = &[58];
const VRRP: &[u8] = &[112];
const NEIGHBOUR_SOLICITATION: &[u8] = &[135];
/// Lengths of a hardware and a protocol address in ARP over Ethernet.
const ETHERNET_ARP: &[u8] = &[6, 4];
/// The loopback has the first index in every network namespace.
const LOOPBACK: [u8; 4] = 1_u32.to_ne_bytes();

/// Makes all tables anew.
pub(super) fn build(name: &FenceName, addresses: &[IpAddr]) -> Batch {
    let mut batch = Batch::new();
    for family in [TableFamily::Inet, TableFamily::Arp] {
        let stays = Table { family, name: &name.stays };
        anew(&mut batch, stays, false);
        sets(&mut batch, stays);
        batch.new_chain(stays, "decide", None);
        decide(&mut batch, stays);
        hook(&mut batch, stays, DECIDING, || Expressions::new().go_to("decide"));

        let alive = Table { family, name: &name.alive };
        anew(&mut batch, alive, true);
        sets(&mut batch, alive);
        let mark = || Expressions::new().meta(Meta::Mark).bits(!ALIVE, ALIVE).set_meta(Meta::Mark);
        hook(&mut batch, alive, MARKING, mark);
    }
    elements(&mut batch, name, addresses, Batch::add);
    batch
}

/// Adds and removes addresses.
pub(super) fn change(name: &FenceName, added: &[IpAddr], removed: &[IpAddr]) -> Batch {
    let mut batch = Batch::new();
    elements(&mut batch, name, added, Batch::add);
    elements(&mut batch, name, removed, Batch::remove);
    batch
}

/// Fails if a table that stays is not there.
pub(super) fn presence(name: &FenceName) -> Batch {
    let mut batch = Batch::new();
    for family in [TableFamily::Inet, TableFamily::Arp] {
        batch.require_set(Table { family, name: &name.stays }, "v4");
    }
    batch
}

/// Removes the tables that stay, whether they are there or not.
pub(super) fn removal(name: &FenceName) -> Batch {
    let mut batch = Batch::new();
    for family in [TableFamily::Inet, TableFamily::Arp] {
        let table = Table { family, name: &name.stays };
        batch.new_table(table, false);
        batch.delete_table(table);
    }
    batch
}

fn anew(batch: &mut Batch, table: Table<'_>, owned: bool) {
    batch.new_table(table, owned);
    batch.delete_table(table);
    batch.new_table(table, owned);
}

fn sets(batch: &mut Batch, table: Table<'_>) {
    batch.new_set(table, "v4", 4);
    if table.family == TableFamily::Inet {
        batch.new_set(table, "v6", 16);
    }
}

fn elements(
    batch: &mut Batch,
    name: &FenceName,
    addresses: &[IpAddr],
    act: fn(&mut Batch, Table<'_>, &str, &[IpAddr]),
) {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
    for table in [&name.alive, &name.stays] {
        act(batch, Table { family: TableFamily::Inet, name: table }, "v4", &v4);
        act(batch, Table { family: TableFamily::Inet, name: table }, "v6", &v6);
        act(batch, Table { family: TableFamily::Arp, name: table }, "v4", &v4);
    }
}

/// Does `act` with everything from or to our addresses.
fn hook(batch: &mut Batch, table: Table<'_>, priority: i32, act: impl Fn() -> Expressions) {
    let (arriving, leaving) = match table.family {
        TableFamily::Inet => (INET_LOCAL_IN, INET_LOCAL_OUT),
        TableFamily::Arp => (ARP_IN, ARP_OUT),
    };
    batch.new_chain(table, "arriving", Some(Hook { number: arriving, priority }));
    batch.new_chain(table, "leaving", Some(Hook { number: leaving, priority }));
    let mut rule = |chain: &str, of: Expressions| batch.new_rule(table, chain, of.then(act()));
    let field = |of: Expressions, base, offset, length, set| of.payload(base, offset, length).is_in(set);
    match table.family {
        TableFamily::Inet => {
            let ipv4 = || Expressions::new().meta(Meta::NetworkProtocol).equals(IPV4);
            let ipv6 = || Expressions::new().meta(Meta::NetworkProtocol).equals(IPV6);
            rule("arriving", field(ipv4(), Base::Network, 16, 4, "v4"));
            rule("arriving", field(ipv6(), Base::Network, 24, 16, "v6"));
            // They are sent to a multicast address; the one they are about is behind the ICMPv6 header.
            let icmp = ipv6().meta(Meta::TransportProtocol).equals(ICMPV6);
            let solicitation = icmp.payload(Base::Transport, 0, 1).equals(NEIGHBOUR_SOLICITATION);
            rule("arriving", field(solicitation, Base::Transport, 8, 16, "v6"));
            rule("leaving", field(ipv4(), Base::Network, 12, 4, "v4"));
            rule("leaving", field(ipv6(), Base::Network, 8, 16, "v6"));
        }
        TableFamily::Arp => {
            let ethernet = || Expressions::new().payload(Base::Network, 4, 2).equals(ETHERNET_ARP);
            rule("arriving", field(ethernet(), Base::Network, 24, 4, "v4"));
            rule("leaving", field(ethernet(), Base::Network, 14, 4, "v4"));
        }
    }
}

/// The fate of what is from or to our addresses.
fn decide(batch: &mut Batch, table: Table<'_>) {
    let alive = Expressions::new().meta(Meta::Mark).bits(ALIVE, 0).differs(&[0; 4]);
    let unmark = alive.meta(Meta::Mark).bits(!ALIVE, 0).set_meta(Meta::Mark);
    batch.new_rule(table, "decide", unmark.accept());
    if table.family == TableFamily::Inet {
        let pass = |meta, value: &[u8]| Expressions::new().meta(meta).equals(value).accept();
        batch.new_rule(table, "decide", pass(Meta::InputInterface, &LOOPBACK));
        batch.new_rule(table, "decide", pass(Meta::OutputInterface, &LOOPBACK));
        // The last word of a node whose own address is the virtual one: that it leaves.
        batch.new_rule(table, "decide", pass(Meta::TransportProtocol, VRRP));
    }
    batch.new_rule(table, "decide", Expressions::new().drop_packet());
}
