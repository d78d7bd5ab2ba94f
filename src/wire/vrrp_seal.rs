//! keepalived 2.4's `auth_hmac`: a trailer of 28 bytes behind a version 3 advertisement, that only holders of the key
//! can write and that is never valid twice.
//!
//! ```text
//! type 1, key id, 0 (2 bytes), seconds (4), fraction of a second (2), counter (2), tag (16)
//! ```

use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::ip;
use super::vrrp::{self, Rejected};
use crate::model::HmacKey;

/// Bytes of the trailer.
pub const TRAILER_LEN: usize = 28;

const TYPE: u8 = 1;
const PREFIX_LEN: usize = 12;
const TAG_LEN: usize = 16;
const CHECKSUM: std::ops::Range<usize> = 6..8;

/// When a packet was sealed: seconds since 1970, a fraction of 2^-16 seconds, and a counter, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp(u64);

impl Stamp {
    /// The stamp of a packet that is sent `since_epoch` after the beginning of 1970, and after one with the stamp
    /// `last`: newer than that one even if the clock was set back.
    #[must_use]
    pub fn after(last: Option<Self>, since_epoch: Duration) -> Self {
        let fraction = (u64::from(since_epoch.subsec_nanos()) << 16) / 1_000_000_000;
        let fresh = since_epoch.as_secs() << 32 | fraction << 16;
        Self(last.map_or(fresh, |last| fresh.max(last.0.saturating_add(1))))
    }

    /// A stamp that much later than this one.
    fn later(self, by: Duration) -> Self {
        Self(self.0.saturating_add(Self::after(None, by).0))
    }
}

/// A trailer as it was received, with all that its tag speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    key: u8,
    stamp: Stamp,
    tag: [u8; TAG_LEN],
    signed: Vec<u8>,
}

impl Seal {
    /// The trailer in `bytes`, which follow `message`; none if they are none.
    pub(super) fn read(message: &[u8], bytes: &[u8], source: IpAddr) -> Option<Self> {
        let bytes: &[u8; TRAILER_LEN] = bytes.try_into().ok()?;
        let (prefix, tag) = bytes.split_first_chunk::<PREFIX_LEN>()?;
        let &[TYPE, key, 0, 0, stamp @ ..] = prefix else { return None };
        let (stamp, tag) = (Stamp(u64::from_be_bytes(stamp)), tag.first_chunk().copied()?);
        Some(Self { key, stamp, tag, signed: signed(message, prefix, source) })
    }

    /// Whether it was written with `key`; when. In constant time.
    pub fn verify(&self, key: &HmacKey) -> Result<Stamp, Rejected> {
        let tag = tag(key, &self.signed).ok_or(Rejected::Authentication)?;
        let same = bool::from(tag.ct_eq(&self.tag)) && key.id == self.key;
        if same { Ok(self.stamp) } else { Err(Rejected::Authentication) }
    }
}

/// Seals a packet anew, IP header included, that was sealed `elapsed` ago and is sent now, `since_epoch` after the
/// beginning of 1970. Valid even if whoever sealed it went on to send others, or the clock was set back.
pub fn renew(packet: &mut [u8], key: &HmacKey, elapsed: Duration, since_epoch: Duration) {
    let Some((source, destination, start)) = ip::ends(packet) else { return };
    let Some(message) = packet.get_mut(start..) else { return };
    let Some((body, place)) = message.split_last_chunk_mut::<TRAILER_LEN>() else { return };
    let Some(&[_, _, _, _, stamp @ ..]) = place.first_chunk::<PREFIX_LEN>() else { return };
    let last = Stamp(u64::from_be_bytes(stamp));
    *place = trailer(body, source, key, Stamp::after(Some(last.later(elapsed)), since_epoch));
    vrrp::sum_sealed(message, source, destination);
}

/// The trailer of `message`, whose checksum field is disregarded.
pub(super) fn trailer(message: &[u8], source: IpAddr, key: &HmacKey, stamp: Stamp) -> [u8; TRAILER_LEN] {
    let mut trailer = [0; TRAILER_LEN];
    let (head, rest) = trailer.split_at_mut(4);
    head.copy_from_slice(&[TYPE, key.id, 0, 0]);
    let (time, place) = rest.split_at_mut(PREFIX_LEN - 4);
    time.copy_from_slice(&stamp.0.to_be_bytes());
    let mut prefix = [TYPE, key.id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    prefix[4..].copy_from_slice(time);
    if let Some(tag) = tag(key, &signed(message, &prefix, source)) {
        place.copy_from_slice(&tag);
    }
    trailer
}

/// What the tag is computed over: where the message comes from, itself without its checksum, the trailer without its tag.
fn signed(message: &[u8], prefix: &[u8; PREFIX_LEN], source: IpAddr) -> Vec<u8> {
    let mut address = [0; 16];
    let family = match source {
        IpAddr::V4(source) => {
            address[..4].copy_from_slice(&source.octets());
            4
        }
        IpAddr::V6(source) => {
            address = source.octets();
            6
        }
    };
    let version = message.first().map_or(0, |kind| kind >> 4);
    let vrid = message.get(1).copied().unwrap_or_default();
    let mut signed = vec![family, version, vrid, 0];
    signed.extend_from_slice(&address);
    let start = signed.len();
    signed.extend_from_slice(message);
    if let Some(checksum) = signed.get_mut(start + CHECKSUM.start..start + CHECKSUM.end) {
        checksum.fill(0);
    }
    signed.extend_from_slice(prefix);
    signed.extend_from_slice(&[0; TAG_LEN]);
    signed
}

/// HMAC-SHA256, cut to 16 bytes. A key of any length will do: none is never returned.
fn tag(key: &HmacKey, signed: &[u8]) -> Option<[u8; TAG_LEN]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.secret).ok()?;
    mac.update(signed);
    mac.finalize().into_bytes().first_chunk().copied()
}
