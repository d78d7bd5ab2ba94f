//! Captured and calculated bytes, faults of every kind, round trips.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use pnet_packet::ethernet::EtherTypes;
use proptest::prelude::*;

use super::vrrp::{Advertisement, Authentication, Envelope, GROUP_V4, GROUP_V6, Received, Rejected, Stamp};
use super::{Announcement, arp, checksum, ip, ndp, vrrp};
use crate::model::{ChecksumMode, HmacKey, Interval, Version, Vrid};

const MAC: super::Mac = [0x02, 0, 0, 0, 0, 7];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(source: &str) -> Envelope {
    Envelope { source: addr(source), destination: IpAddr::V4(GROUP_V4), ttl: 255 }
}

fn v6(source: &str) -> Envelope {
    Envelope { source: addr(source), destination: IpAddr::V6(GROUP_V6), ttl: 255 }
}

fn advert(version: Version, vrid: u8, priority: u8, addresses: &[&str]) -> Advertisement {
    Advertisement {
        version,
        vrid: Vrid::new(vrid).unwrap(),
        priority,
        interval: Interval::DEFAULT,
        auth: Authentication::None,
        addresses: addresses.iter().map(|text| addr(text)).collect(),
    }
}

/// (name, advertisement, envelope, checksum, bytes), from the RFCs' algorithms calculated elsewhere.
fn vectors() -> Vec<(&'static str, Advertisement, Envelope, ChecksumMode, Vec<u8>)> {
    let v2 = advert(Version::V2, 51, 100, &["192.168.1.100"]);
    let password = Advertisement { auth: Authentication::Password(*b"1111\0\0\0\0"), ..v2.clone() };
    let v3 = advert(Version::V3, 10, 200, &["192.0.2.1", "192.0.2.2"]);
    let over_v6 = advert(Version::V3, 51, 200, &["fe80::100"]);
    let (message, pseudo) = (ChecksumMode::MessageOnly, ChecksumMode::PseudoHeader);
    let source = "192.0.2.251";
    vec![
        ("v2", v2, v4(source), message, hex("213364010001b8bdc0a801640000000000000000")),
        ("v2 PASS", password, v4(source), message, hex("213364010101555bc0a801643131313100000000")),
        ("v3 message only", v3.clone(), v4(source), message, hex("310ac8020064828ac0000201c0000202")),
        ("v3 pseudo-header", v3, v4(source), pseudo, hex("310ac8020064defbc0000201c0000202")),
        ("v3 IPv6", over_v6, v6("fe80::10"), pseudo, hex("3133c801006408b8fe800000000000000000000000000100")),
    ]
}

/// The tags are calculated elsewhere.
#[test]
fn trailers_are_written_and_read() {
    let key = HmacKey { id: 7, secret: b"secret".to_vec() };
    let then = Duration::from_millis(1_000_500);
    let stamp = (0..3).fold(Stamp::after(None, then), |last, _| Stamp::after(Some(last), then));
    let prefix = "01070000000003e880000003";
    let rows = vectors().into_iter().filter_map(|(name, advertisement, envelope, checksum, bytes)| match name {
        "v3 pseudo-header" => Some((advertisement, envelope, checksum, bytes, "1cfe04c7c1dca40e81acbe183f9c965c")),
        "v3 IPv6" => {
            let mut bytes = bytes;
            bytes[6..8].copy_from_slice(&hex("4c73"));
            Some((advertisement, envelope, checksum, bytes, "c941d8b8c821cfafb0266e8283c25afe"))
        }
        _ => None,
    });
    for (advertisement, envelope, checksum, mut bytes, tag) in rows {
        bytes.extend(hex(prefix));
        bytes.extend(hex(tag));
        let mut written = Vec::new();
        advertisement.emit_sealed(&mut written, envelope.source, envelope.destination, checksum, (&key, stamp));
        assert_eq!(written, bytes);
        let received = Advertisement::parse(&bytes, &envelope).unwrap();
        assert_eq!(received.advertisement, advertisement);
        assert_eq!(received.seal.clone().map(|seal| seal.verify(&key)), Some(Ok(stamp)));
        let other = HmacKey { secret: b"Secret".to_vec(), ..key.clone() };
        assert_eq!(received.seal.map(|seal| seal.verify(&other)), Some(Err(Rejected::Authentication)));
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 4;
            let verified =
                Advertisement::parse(&wrong, &envelope).map(|received| received.seal.map(|seal| seal.verify(&key)));
            assert!(!matches!(verified, Ok(Some(Ok(_)))), "byte {at}");
        }
        let elsewhere = Envelope { source: advertisement.addresses[0], ..envelope };
        let moved =
            Advertisement::parse(&bytes, &elsewhere).map(|received| received.seal.map(|seal| seal.verify(&key)));
        assert!(!matches!(moved, Ok(Some(Ok(_)))), "the source is signed too");
    }
}

#[test]
fn a_seal_is_renewed_by_whoever_sends_the_packet_later() {
    let key = HmacKey { id: 7, secret: b"secret".to_vec() };
    let then = Duration::from_secs(1_000_000);
    let stamp = Stamp::after(None, then);
    let second = Duration::from_secs(1);
    for (name, advertisement, envelope, checksum, _) in vectors().into_iter().filter(|row| row.0.starts_with("v3")) {
        let (mut message, mut packet) = (Vec::new(), Vec::new());
        let (source, destination) = (envelope.source, envelope.destination);
        advertisement.emit_sealed(&mut message, source, destination, checksum, (&key, stamp));
        match (source, destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ip::emit_v4(&mut packet, from, to, (1, 255), message.len()),
            (IpAddr::V6(from), IpAddr::V6(to)) => ip::emit_v6(&mut packet, from, to, 255, message.len()),
            _ => unreachable!(),
        }
        let header = packet.len();
        packet.extend(message);
        // The clock goes on, was set forward, was set back.
        for now in [then + second, then * 2, then / 2] {
            let mut renewed = packet.clone();
            vrrp::renew_seal(&mut renewed, &key, second, now);
            let received = Advertisement::parse(&renewed[header..], &envelope).unwrap();
            let renewed = received.seal.unwrap().verify(&key).unwrap();
            assert_eq!(received.advertisement, advertisement, "{name}");
            assert!(renewed > Stamp::after(None, then + second / 2), "newer than what was sent meanwhile: {name}");
        }
    }
    for cut in 0..70 {
        vrrp::renew_seal(&mut vec![0x45; cut], &key, second, then);
        vrrp::renew_seal(&mut vec![0x60; cut], &key, second, then);
    }
}

#[test]
fn stamps_never_go_back() {
    let first = Stamp::after(None, Duration::from_secs(1000));
    let second = Stamp::after(Some(first), Duration::from_secs(10));
    assert!(second > first, "though the clock did");
    assert!(Stamp::after(Some(second), Duration::from_secs(1001)) > second);
}

#[test]
fn vectors_are_written_and_read() {
    for (name, advertisement, envelope, checksum, bytes) in vectors() {
        let mut written = vec![0xee];
        advertisement.emit(&mut written, envelope.source, envelope.destination, checksum);
        assert_eq!(written[1..], bytes, "{name}: written after what was there");
        assert_eq!(advertisement.length(envelope.source), bytes.len(), "{name}");
        assert_eq!(
            Advertisement::parse(&bytes, &envelope),
            Ok(Received { advertisement: advertisement.clone(), checksum, seal: None }),
            "{name}"
        );
        let mut padded = bytes.clone();
        padded.resize(46, 0x5a);
        assert_eq!(Advertisement::parse(&padded, &envelope).unwrap().advertisement, advertisement, "{name}: padded");
        for length in 0..bytes.len() {
            assert_eq!(Advertisement::parse(&bytes[..length], &envelope), Err(Rejected::Truncated), "{name}: {length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            Advertisement::parse(&flipped, &envelope).expect_err(name);
        }
    }
}

/// Frames of Debian's keepalived 2.2.7, as tcpdump saw them.
mod captured {
    pub(super) const V2_PASS: &str = "01005e000012020000000001080045c0002800010000ff701891c0000201e0000012\
        2133640101015503c00002643131313100000000";
    pub(super) const V3: &str = "01005e000012020000000001080045c0002400010000ff701895c0000201e0000012\
        313496020019114fc0000265c0000266";
    pub(super) const V3_OVER_IPV6: &str = "33330000001202000000000186dd6c0c8cb7002870ff\
        fe80000000000000000000fffe000001ff020000000000000000000000000012\
        3135960200190d46fe80000000000000000000000000010020010db8000000000000000000000100";
    pub(super) const GRATUITOUS_ARP: &str =
        "ffffffffffff02000000000108060001080006040001020000000001c0000264ffffffffffffc0000264";
    pub(super) const NEIGHBOUR_ADVERTISEMENT: &str = "33330000000102000000000186dd6000000000203aff\
        20010db8000000000000000000000100ff020000000000000000000000000001\
        8800f72c2000000020010db80000000000000000000001000201020000000001";
}

#[test]
fn what_keepalived_sends_is_what_is_sent() {
    let (source, group) = (addr("192.0.2.1"), IpAddr::V4(GROUP_V4));
    let packet = |advertisement: &Advertisement| {
        let mut packet = Vec::new();
        advertisement.emit_packet(&mut packet, source, group, 1, ChecksumMode::PseudoHeader);
        packet
    };
    let v2 = Advertisement {
        auth: Authentication::Password(*b"1111\0\0\0\0"),
        ..advert(Version::V2, 51, 100, &["192.0.2.100"])
    };
    assert_eq!(packet(&v2), hex(captured::V2_PASS)[14..]);
    let quarter = Interval::from_centiseconds(25).unwrap();
    let v3 = Advertisement { interval: quarter, ..advert(Version::V3, 52, 150, &["192.0.2.101", "192.0.2.102"]) };
    assert_eq!(packet(&v3), hex(captured::V3)[14..]);

    let over_v6 = Advertisement { interval: quarter, ..advert(Version::V3, 53, 150, &["fe80::100", "2001:db8::100"]) };
    let mut message = Vec::new();
    let envelope = v6("fe80::ff:fe00:1");
    over_v6.emit(&mut message, envelope.source, envelope.destination, ChecksumMode::PseudoHeader);
    assert_eq!(message, hex(captured::V3_OVER_IPV6)[54..]);

    let mac = [2, 0, 0, 0, 0, 1];
    assert_eq!(arp::announcement(Ipv4Addr::new(192, 0, 2, 100), mac)[..], hex(captured::GRATUITOUS_ARP));
    let address = "2001:db8::100".parse().unwrap();
    assert_eq!(ndp::announcement(address, mac, false)[..], hex(captured::NEIGHBOUR_ADVERTISEMENT));
}

#[test]
fn every_fault_has_its_name() {
    let good = advert(Version::V3, 10, 200, &["192.0.2.1"]);
    let envelope = v4("192.0.2.251");
    // Alters one byte, then repairs the checksum.
    let altered = |at: usize, byte: u8| {
        let mut bytes = Vec::new();
        good.emit(&mut bytes, envelope.source, envelope.destination, ChecksumMode::MessageOnly);
        bytes[at] = byte;
        let sum = checksum::plain(&bytes, 3);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        bytes
    };
    let parse = |bytes: &[u8]| Advertisement::parse(bytes, &envelope).map(|_| ());
    assert_eq!(parse(&altered(0, 0x31)), Ok(()));
    assert_eq!(parse(&altered(0, 0x41)), Err(Rejected::Version));
    assert_eq!(parse(&altered(0, 0x11)), Err(Rejected::Version));
    assert_eq!(parse(&altered(0, 0x32)), Err(Rejected::Type));
    assert_eq!(parse(&altered(1, 0)), Err(Rejected::UnknownVrid));
    assert_eq!(parse(&altered(3, 2)), Err(Rejected::Truncated));
    assert_eq!(parse(&altered(5, 0)), Err(Rejected::Interval), "interval 0 (erratum 8301)");
    assert_eq!(parse(&altered(4, 0xf0)), Ok(()), "the reserved bits are ignored");
    let mut empty = hex("310ac80000640000");
    let sum = checksum::plain(&empty, 3);
    empty[6..8].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(parse(&empty), Err(Rejected::AddressCount));

    let bytes = altered(0, 0x31);
    for ttl in [0, 1, 64, 254] {
        let far = Envelope { ttl, ..envelope };
        assert_eq!(Advertisement::parse(&bytes, &far), Err(Rejected::TtlNot255));
        let unicast = Envelope { ttl, destination: addr("192.0.2.252"), ..envelope };
        assert!(Advertisement::parse(&bytes, &unicast).is_ok(), "unicast comes from anywhere");
    }
    let mut over_v6 = Vec::new();
    let source = v6("fe80::10");
    advert(Version::V3, 10, 200, &["fe80::1"]).emit(
        &mut over_v6,
        source.source,
        source.destination,
        ChecksumMode::MessageOnly,
    );
    assert!(Advertisement::parse(&over_v6, &source).is_ok(), "over IPv6 the pseudo-header is always there");
    over_v6[0] = 0x21;
    assert_eq!(Advertisement::parse(&over_v6, &source), Err(Rejected::Version), "no version 2 over IPv6");
}

#[test]
fn version_2_faults() {
    let envelope = v4("192.0.2.251");
    let with = |kind: u8, seconds: u8| {
        let mut bytes = hex("213364010001b8bdc0a801640000000000000000");
        (bytes[4], bytes[5]) = (kind, seconds);
        let sum = checksum::plain(&bytes, 3);
        bytes[6..8].copy_from_slice(&sum.to_be_bytes());
        Advertisement::parse(&bytes, &envelope).map(|received| received.advertisement.interval.centiseconds())
    };
    assert_eq!(with(0, 1), Ok(100));
    assert_eq!(with(0, 255), Ok(25_500));
    assert_eq!(with(0, 0), Err(Rejected::Interval));
    assert_eq!(with(2, 1), Err(Rejected::Authentication), "AH");
    assert_eq!(with(9, 1), Err(Rejected::Authentication));
    let half_second = Advertisement {
        interval: Interval::from_centiseconds(50).unwrap(),
        ..advert(Version::V2, 1, 1, &["192.0.2.1"])
    };
    let mut bytes = Vec::new();
    half_second.emit(&mut bytes, envelope.source, envelope.destination, ChecksumMode::default());
    assert_eq!(bytes[5], 1, "rounded up to whole seconds");
}

#[test]
fn a_whole_ipv4_packet() {
    let advertisement = advert(Version::V2, 51, 100, &["192.168.1.100"]);
    let (source, group) = (Ipv4Addr::new(192, 168, 1, 2), GROUP_V4);
    let mut packet = Vec::new();
    advertisement.emit_packet(&mut packet, source.into(), group.into(), 0x1234, ChecksumMode::default());
    assert_eq!(packet.len(), 40);
    assert_eq!(packet[..10], hex("45c0002812340000ff70"));
    assert_eq!(packet[12..20], hex("c0a80102e0000012"));
    assert!(checksum::is_valid(&packet[..20]), "header checksum");
    let envelope = Envelope { source: source.into(), destination: group.into(), ttl: 255 };
    assert_eq!(ip::parse_v4(&packet), Ok((envelope, &packet[20..])));

    let mut padded = packet.clone();
    padded.resize(60, 0);
    assert_eq!(ip::parse_v4(&padded).unwrap().1, &packet[20..], "padding is cut off");
    for length in 0..packet.len() {
        assert_eq!(ip::parse_v4(&packet[..length]), Err(Rejected::Truncated));
    }
    let altered = |at: usize, byte: u8| {
        let mut bytes = packet.clone();
        bytes[at] = byte;
        ip::parse_v4(&bytes).map(|(_, message)| message.len())
    };
    assert_eq!(altered(0, 0x65), Err(Rejected::Destination), "version");
    assert_eq!(altered(0, 0x44), Err(Rejected::Truncated), "header shorter than a header");
    assert_eq!(altered(0, 0x4f), Err(Rejected::Truncated), "header longer than the packet");
    assert_eq!(altered(0, 0x46), Ok(16), "one word of options");
    assert_eq!(altered(3, 19), Err(Rejected::Truncated), "total shorter than the header");
    assert_eq!(altered(6, 0x20), Err(Rejected::Truncated), "a fragment");
    assert_eq!(altered(9, 6), Err(Rejected::Type), "another protocol");
}

#[test]
fn a_whole_ipv6_packet() {
    let (source, group) = (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10), GROUP_V6);
    let mut packet = Vec::new();
    let advertisement = advert(Version::V3, 51, 200, &["fe80::100"]);
    advertisement.emit_packet(&mut packet, source.into(), group.into(), 1, ChecksumMode::default());
    let header = "6c000000001870fffe800000000000000000000000000010ff020000000000000000000000000012";
    assert_eq!(packet[..40], hex(header));
    let envelope = Envelope { source: source.into(), destination: group.into(), ttl: 255 };
    assert_eq!(Advertisement::parse(&packet[40..], &envelope).unwrap().advertisement, advertisement);

    let mut nothing = Vec::new();
    advertisement.emit_packet(&mut nothing, addr("192.0.2.1"), group.into(), 1, ChecksumMode::default());
    assert!(nothing.is_empty(), "there is no packet from IPv4 to IPv6");
}

#[test]
fn gratuitous_arp() {
    let frame = arp::announcement(Ipv4Addr::new(192, 0, 2, 1), MAC);
    let bytes = "ffffffffffff02000000000708060001080006040001020000000007c0000201ffffffffffffc0000201";
    assert_eq!(frame[..], hex(bytes));
    let announcement = Announcement { address: addr("192.0.2.1"), mac: MAC, to: addr("192.0.2.1") };
    assert_eq!(Announcement::parse(&frame), Some(announcement));
    let mut padded = frame.to_vec();
    padded.resize(60, 0);
    assert_eq!(Announcement::parse(&padded), Some(announcement));
    for length in 0..frame.len() {
        assert_eq!(Announcement::parse(&frame[..length]), None);
    }
    let mut reply = frame;
    reply[21] = 2;
    assert_eq!(Announcement::parse(&reply), Some(announcement), "a gratuitous reply says the same");
    let mut probe = frame;
    probe[28..32].fill(0);
    assert_eq!(Announcement::parse(&probe), None, "a probe claims nothing (RFC 5227)");
    for (at, byte) in [(15, 6), (16, 9), (18, 8), (19, 16), (21, 3)] {
        let mut odd = frame;
        odd[at] = byte;
        assert_eq!(Announcement::parse(&odd), None, "byte {at}");
    }
}

#[test]
fn unsolicited_neighbour_advertisement() {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let frame = ndp::announcement(address, MAC, true);
    assert_eq!(frame[..14], hex("33330000000102000000000786dd"));
    assert_eq!(frame[14..22], hex("6000000000203aff"));
    assert_eq!(frame[54..56], [136, 0]);
    assert_eq!(frame[58..62], [0xa0, 0, 0, 0], "router and override");
    assert_eq!(frame[78..], hex("0201020000000007"));
    assert_eq!(ndp::announcement(address, MAC, false)[58], 0x20, "override alone");
    let announcement = Announcement { address: address.into(), mac: MAC, to: addr("ff02::1") };
    assert_eq!(Announcement::parse(&frame), Some(announcement));
    for length in 0..frame.len() {
        assert_eq!(Announcement::parse(&frame[..length]), None);
    }
    for at in (14..15).chain(18..frame.len()) {
        let mut wrong = frame;
        wrong[at] ^= 0x10;
        assert_eq!(Announcement::parse(&wrong), None, "byte {at}");
    }
    let mut other = frame;
    super::emit_ethernet(&mut other, MAC, MAC, EtherTypes::Vlan);
    assert_eq!(Announcement::parse(&other), None);
}

fn any_address(v6: bool) -> BoxedStrategy<IpAddr> {
    if v6 { any::<[u8; 16]>().prop_map(IpAddr::from).boxed() } else { any::<[u8; 4]>().prop_map(IpAddr::from).boxed() }
}

prop_compose! {
    fn any_advert()(over_v6 in any::<bool>())(
        over_v6 in Just(over_v6),
        source in any_address(over_v6),
        version2 in any::<bool>(),
        vrid in 1u8..,
        priority in any::<u8>(),
        seconds in 1u16..=255,
        centiseconds in 1u16..=4095,
        password in any::<Option<[u8; 8]>>(),
        addresses in prop::collection::vec(any_address(over_v6), 1..=255),
    ) -> (Advertisement, IpAddr) {
        let version = if version2 && !over_v6 { Version::V2 } else { Version::V3 };
        let (interval, auth) = match version {
            Version::V2 => (seconds * 100, password.map_or(Authentication::None, Authentication::Password)),
            Version::V3 => (centiseconds, Authentication::None),
        };
        let interval = Interval::from_centiseconds(interval).unwrap();
        let vrid = Vrid::new(vrid).unwrap();
        (Advertisement { version, vrid, priority, interval, auth, addresses }, source)
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read((advertisement, source) in any_advert(), message_only in any::<bool>()) {
        let mode = if message_only { ChecksumMode::MessageOnly } else { ChecksumMode::PseudoHeader };
        let destination = if source.is_ipv4() { IpAddr::V4(GROUP_V4) } else { IpAddr::V6(GROUP_V6) };
        let mut packet = Vec::new();
        advertisement.emit_packet(&mut packet, source, destination, 7, mode);
        let (envelope, message) = match source {
            IpAddr::V4(_) => ip::parse_v4(&packet).unwrap(),
            IpAddr::V6(_) => (Envelope { source, destination, ttl: 255 }, &packet[ip::IPV6_LEN..]),
        };
        prop_assert_eq!(envelope, Envelope { source, destination, ttl: 255 });
        prop_assert_eq!(Advertisement::parse(message, &envelope).unwrap().advertisement, advertisement);
    }

    #[test]
    fn announcements_are_recognised(v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>(), mac in any::<[u8; 6]>()) {
        let (v4, v6) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
        prop_assume!(!v4.is_unspecified());
        prop_assert_eq!(
            Announcement::parse(&arp::announcement(v4, mac)), Some(Announcement { address: v4.into(), mac, to: v4.into() }));
        prop_assert_eq!(
            Announcement::parse(&ndp::announcement(v6, mac, true)), Some(Announcement { address: v6.into(), mac, to: addr("ff02::1") }));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), envelope in any_advert()) {
        let source = envelope.1;
        let _ = Announcement::parse(&bytes);
        let _ = ip::parse_v4(&bytes);
        let _ = Advertisement::parse(&bytes, &Envelope { source, destination: source, ttl: 255 });
    }
}

#[test]
fn neighbours_are_asked_as_the_standards_say() {
    let request = arp::request(Ipv4Addr::new(192, 0, 2, 254), Ipv4Addr::new(192, 0, 2, 1), MAC);
    let expected = "ffffffffffff0200000000070806000108000604000102000000000 7c00002010000000000 00c00002fe";
    assert_eq!(request[..], hex(&expected.replace(' ', "")));

    let (target, source) = ("2001:db8::12:3456", "fe80::7");
    let frame = ndp::solicitation(target.parse().unwrap(), source.parse().unwrap(), MAC);
    assert_eq!(frame[..14], hex("3333ff12345602000000000786dd"));
    // Version 6, 32 bytes of ICMPv6, hop limit 255.
    assert_eq!(frame[14..22], hex("6000000000203aff"));
    let (header, message) = frame[14..].split_at(40);
    assert_eq!(header[24..], "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!((message[0], message[1]), (135, 0));
    assert_eq!(message[8..24], target.parse::<Ipv6Addr>().unwrap().octets());
    assert_eq!(message[24..], hex("0101020000000007"));
    assert!(checksum::is_valid_with_pseudo_header(message, addr(source), addr("ff02::1:ff12:3456"), 58));
    assert_eq!(Announcement::parse(&frame), None, "a question announces nothing");
}
