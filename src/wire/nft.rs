//! Messages of nf_tables over nfnetlink (linux/netfilter/nf_tables.h): enough to keep tables, chains, rules and sets of
//! addresses. What is in one [`Batch`] happens at once or not at all.

use std::net::IpAddr;

/// Protocol families of tables (NFPROTO_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TableFamily {
    /// IPv4 and IPv6.
    Inet = 1,
    /// ARP.
    Arp = 3,
}

/// A table, by which everything in it is found.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Its family.
    pub family: TableFamily,
    /// Its name, unique in the family and network namespace.
    pub name: &'a str,
}

/// Where a base chain is called.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// NF_INET_* or NF_ARP_*.
    pub number: u32,
    /// The lower, the earlier.
    pub priority: i32,
}

/// What arrives, before it is routed.
pub const INET_PRE_ROUTING: u32 = 0;
/// What is for this node.
pub const INET_LOCAL_IN: u32 = 1;
/// What this node sends.
pub const INET_LOCAL_OUT: u32 = 3;
/// ARP that arrives.
pub const ARP_IN: u32 = 0;
/// ARP that this node sends.
pub const ARP_OUT: u32 = 1;

/// NFT_TABLE_F_OWNER (Linux 5.12): the table is gone with the socket that made it, and nobody else can change it.
const OWNER: u32 = 2;

const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENTS: u16 = 12;
const DELETE_ELEMENTS: u16 = 14;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const HEADER: usize = 16;
const ERROR: u16 = 2;
const NESTED: u16 = 0x8000;
const LIST_ELEMENT: u16 = 1;

/// Elements of one message: an attribute holds less than 64 KiB, an IPv6 element 28 bytes.
const ELEMENTS_AT_ONCE: usize = 1000;

/// A transaction under construction. Every message is acknowledged.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let mut batch = Self { bytes: Vec::with_capacity(1024), count: 0 };
        batch.boundary(BATCH_BEGIN);
        batch
    }

    /// Makes the table, if it is not there.
    pub fn new_table(&mut self, table: Table<'_>, owned: bool) {
        let flags = if owned { OWNER } else { 0 };
        self.message(NEW_TABLE, CREATE, table, Attributes::new().text(1, table.name).number(2, flags));
    }

    /// Removes the table with all in it. Fails if it is not there.
    pub fn delete_table(&mut self, table: Table<'_>) {
        self.message(DELETE_TABLE, 0, table, Attributes::new().text(1, table.name));
    }

    /// Makes a chain; one without a hook is for rules to go to.
    pub fn new_chain(&mut self, table: Table<'_>, name: &str, hook: Option<Hook>) {
        let mut attributes = Attributes::new().text(1, table.name).text(3, name);
        if let Some(hook) = hook {
            let place = Attributes::new().number(1, hook.number).number(2, hook.priority.cast_unsigned());
            attributes = attributes.nested(4, place).text(7, "filter");
        }
        self.message(NEW_CHAIN, CREATE, table, attributes);
    }

    /// Makes a set of addresses of one IP version.
    pub fn new_set(&mut self, table: Table<'_>, name: &str, address_length: u32) {
        // The key's type is for nft's eyes: ipv4_addr is 7, ipv6_addr 8. The last one is an id in the transaction.
        let shown = if address_length == 4 { 7 } else { 8 };
        let attributes = Attributes::new().text(1, table.name).text(2, name).number(3, 0).number(4, shown);
        let attributes = attributes.number(5, address_length).number(10, self.count);
        self.message(NEW_SET, CREATE, table, attributes);
    }

    /// Fails if the table or the set is not there: adds nothing to it.
    pub fn require_set(&mut self, table: Table<'_>, set: &str) {
        let nothing = Attributes::new().text(1, table.name).text(2, set).nested(3, Attributes::new());
        self.message(NEW_ELEMENTS, 0, table, nothing);
    }

    /// Adds addresses to a set; those that are there already stay.
    pub fn add(&mut self, table: Table<'_>, set: &str, addresses: &[IpAddr]) {
        self.elements(NEW_ELEMENTS, CREATE, table, set, addresses);
    }

    /// Removes addresses from a set. Fails if one is not there.
    pub fn remove(&mut self, table: Table<'_>, set: &str, addresses: &[IpAddr]) {
        self.elements(DELETE_ELEMENTS, 0, table, set, addresses);
    }

    /// Appends a rule to a chain.
    pub fn new_rule(&mut self, table: Table<'_>, chain: &str, expressions: Expressions) {
        let attributes = Attributes::new().text(1, table.name).text(2, chain).nested(4, expressions.0);
        self.message(NEW_RULE, CREATE | APPEND, table, attributes);
    }

    /// The bytes for the kernel, and how many acknowledgements to expect.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, u32) {
        let expected = self.count - 1;
        self.boundary(BATCH_END);
        (self.bytes, expected)
    }

    fn elements(&mut self, kind: u16, flags: u16, table: Table<'_>, set: &str, addresses: &[IpAddr]) {
        for some in addresses.chunks(ELEMENTS_AT_ONCE) {
            let mut list = Attributes::new();
            for address in some {
                let key = match address {
                    IpAddr::V4(address) => Attributes::new().bytes(1, &address.octets()),
                    IpAddr::V6(address) => Attributes::new().bytes(1, &address.octets()),
                };
                list = list.nested(LIST_ELEMENT, Attributes::new().nested(1, key));
            }
            let attributes = Attributes::new().text(1, table.name).text(2, set).nested(3, list);
            self.message(kind, flags, table, attributes);
        }
    }

    fn message(&mut self, kind: u16, flags: u16, table: Table<'_>, attributes: Attributes) {
        self.put((SUBSYSTEM << 8) | kind, REQUEST | ACK | flags, table.family as u8, 0, &attributes.0);
    }

    fn boundary(&mut self, kind: u16) {
        self.put(kind, REQUEST, 0, SUBSYSTEM, &[]);
    }

    /// nlmsghdr, nfgenmsg, attributes.
    fn put(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) {
        let length = u32::try_from(HEADER + 4 + attributes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.count.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        self.bytes.extend_from_slice(attributes);
        self.count += 1;
    }
}

/// Header a packet's bytes are taken from.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Base {
    /// IPv4, IPv6 or ARP.
    Network = 1,
    /// What IP carries.
    Transport = 2,
}

/// What is known of a packet beside its bytes (NFT_META_*).
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Meta {
    /// The packet mark, 32 bits.
    Mark = 3,
    /// Index of the interface it arrived on, 32 bits.
    InputInterface = 4,
    /// Index of the interface it leaves by, 32 bits.
    OutputInterface = 5,
    /// 2 for IPv4, 10 for IPv6: one byte.
    NetworkProtocol = 15,
    /// The protocol that IP carries: one byte.
    TransportProtocol = 16,
}

/// The expressions of one rule; the first that does not hold ends it. All of them work on one register.
#[derive(Debug, Default)]
pub struct Expressions(Attributes);

const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;

impl Expressions {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loads packet data that is known beside its bytes.
    #[must_use]
    pub fn meta(self, meta: Meta) -> Self {
        self.push("meta", Attributes::new().number(1, REGISTER).number(2, meta as u32))
    }

    /// Stores it.
    #[must_use]
    pub fn set_meta(self, meta: Meta) -> Self {
        self.push("meta", Attributes::new().number(2, meta as u32).number(3, REGISTER))
    }

    /// Loads bytes of the packet.
    #[must_use]
    pub fn payload(self, base: Base, offset: u32, length: u32) -> Self {
        let from = Attributes::new().number(1, REGISTER).number(2, base as u32).number(3, offset).number(4, length);
        self.push("payload", from)
    }

    /// Loads, as one byte, whether the packet is for a transparent socket of this node; ends the rule where it is for none.
    /// Fails where the kernel lacks CONFIG_NFT_SOCKET.
    #[must_use]
    pub fn socket_transparent(self) -> Self {
        self.push("socket", Attributes::new().number(1, 0).number(2, REGISTER))
    }

    /// Goes on if what was loaded is `value`.
    #[must_use]
    pub fn equals(self, value: &[u8]) -> Self {
        self.compare(0, value)
    }

    /// Goes on if what was loaded is not `value`.
    #[must_use]
    pub fn differs(self, value: &[u8]) -> Self {
        self.compare(1, value)
    }

    /// Goes on if what was loaded is an element of the set.
    #[must_use]
    pub fn is_in(self, set: &str) -> Self {
        self.push("lookup", Attributes::new().text(1, set).number(2, REGISTER))
    }

    /// `loaded & mask ^ flip`, on 32 bits in the host's order.
    #[must_use]
    pub fn bits(self, mask: u32, flip: u32) -> Self {
        let value = |bits: u32| Attributes::new().bytes(1, &bits.to_ne_bytes());
        let operands = Attributes::new().number(1, REGISTER).number(2, REGISTER).number(3, 4);
        self.push("bitwise", operands.nested(4, value(mask)).nested(5, value(flip)))
    }

    /// Goes on in another chain and does not come back.
    #[must_use]
    pub fn go_to(self, chain: &str) -> Self {
        self.verdict(Attributes::new().number(1, (-4_i32).cast_unsigned()).text(2, chain))
    }

    /// Lets the packet pass this table.
    #[must_use]
    pub fn accept(self) -> Self {
        self.verdict(Attributes::new().number(1, 1))
    }

    /// Ends the packet.
    #[must_use]
    pub fn drop_packet(self) -> Self {
        self.verdict(Attributes::new().number(1, 0))
    }

    /// Those of `next` after these.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        self.0.0.extend_from_slice(&next.0.0);
        self
    }

    fn compare(self, operator: u32, value: &[u8]) -> Self {
        let operands = Attributes::new().number(1, REGISTER).number(2, operator);
        self.push("cmp", operands.nested(3, Attributes::new().bytes(1, value)))
    }

    fn verdict(self, verdict: Attributes) -> Self {
        let data = Attributes::new().nested(2, verdict);
        self.push("immediate", Attributes::new().number(1, VERDICT_REGISTER).nested(2, data))
    }

    fn push(self, name: &str, data: Attributes) -> Self {
        Self(self.0.nested(LIST_ELEMENT, Attributes::new().text(1, name).nested(2, data)))
    }
}

/// Netlink attributes, padded to four bytes each; numbers are big-endian, as nf_tables wants them.
#[derive(Debug, Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn new() -> Self {
        Self::default()
    }

    fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    fn nested(self, kind: u16, inner: Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// The kernel's answers in one datagram: the number of the message each is about, and its errno, 0 for done.
pub fn answers(datagram: &[u8]) -> impl Iterator<Item = (u32, i32)> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        loop {
            let length =
                usize::try_from(u32::from_ne_bytes(field(rest, 0)?)).ok().filter(|length| *length >= HEADER)?;
            let message = rest.get(..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if u16::from_ne_bytes(field(message, 4)?) == ERROR {
                let errno = i32::from_ne_bytes(field(message, HEADER)?);
                return Some((u32::from_ne_bytes(field(message, 8)?), errno.checked_neg()?));
            }
        }
    })
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    const TABLE: Table<'static> = Table { family: TableFamily::Inet, name: "t" };

    /// As `nft --debug=all add table inet t` sends it: begin, the table, end.
    #[test]
    fn a_batch_is_what_nft_sends() {
        let mut batch = Batch::new();
        batch.new_table(TABLE, true);
        let (bytes, expected) = batch.finish();
        assert_eq!(expected, 1);
        let hex = HEXLOWER.encode(&bytes);
        let begin = concat!("14000000", "1000", "0100", "00000000", "00000000", "0000", "000a");
        let table = concat!("24000000", "000a", "0504", "01000000", "00000000", "0100", "0000");
        let attributes = concat!("0600", "0100", "7400", "0000", "0800", "0200", "00000002");
        let end = concat!("14000000", "1100", "0100", "02000000", "00000000", "0000", "000a");
        assert_eq!(hex, [begin, table, attributes, end].concat());
    }

    #[test]
    fn many_elements_become_several_messages() {
        let addresses: Vec<IpAddr> = (0..2500_u128).map(|number| IpAddr::from(number.to_be_bytes())).collect();
        let mut batch = Batch::new();
        batch.add(TABLE, "v6", &addresses);
        let (bytes, expected) = batch.finish();
        assert_eq!(expected, 3);
        assert!(bytes.len() > 2500 * 28);
    }

    #[test]
    fn answers_are_numbers_and_errnos() {
        let answer = |sequence: u32, errno: i32| {
            [&36_u32.to_ne_bytes()[..], &2_u16.to_ne_bytes(), &[0; 2], &sequence.to_ne_bytes(), &[0; 4]]
                .concat()
                .into_iter()
                .chain((-errno).to_ne_bytes())
                .chain([0; 16])
                .collect::<Vec<u8>>()
        };
        let both = [answer(1, 0), answer(7, 17)].concat();
        assert_eq!(answers(&both).collect::<Vec<_>>(), [(1, 0), (7, 17)]);
        assert_eq!(answers(&both[..40]).collect::<Vec<_>>(), [(1, 0)]);
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = answers(&bytes).count();
        }
    }
}
