//! Counters and state of one virtual router.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::registry::lock;

/// Counters and state of one virtual router.
#[derive(Debug, Default)]
pub struct RouterStats {
    /// Advertisements sent.
    pub sent: AtomicU64,
    /// Advertisements accepted.
    pub received: AtomicU64,
    /// Sends that failed, a firewall's refusals among them.
    pub send_errors: AtomicU64,
    /// Sends that this node's firewall refused (EPERM): the others hear nothing.
    pub send_refused: AtomicU64,
    /// Times it became master because nobody was heard.
    pub none_heard: AtomicU64,
    /// Times another master was heard beside this one.
    pub two_masters: AtomicU64,
    /// How long two masters were heard, in all, in microseconds.
    pub two_masters_micros: AtomicU64,
    /// Times somebody else took an address away.
    pub addresses_taken: AtomicU64,
    /// Times somebody else announced an address of this master, and was answered.
    pub two_announcers: AtomicU64,
    /// Priority-0 advertisements sent.
    pub zero_sent: AtomicU64,
    /// Priority-0 advertisements received.
    pub zero_received: AtomicU64,
    /// Times it became master.
    pub became_master: AtomicU64,
    /// Announcements (gratuitous ARP, NA) sent.
    pub announcements: AtomicU64,
    rejected: [AtomicU64; RejectReason::ALL.len()],
    status: Mutex<RouterStatus>,
}

/// State of one virtual router.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouterStatus {
    /// Its role now.
    pub role: Role,
    /// Why it is in that role.
    pub reason: String,
    /// When the role last changed.
    pub since: Option<Instant>,
    /// Priority it advertises or would advertise.
    pub priority: u8,
    /// The master last heard, with its priority.
    pub master: Option<(IpAddr, u8)>,
    /// When an acceptable advertisement of another router was last heard.
    pub heard: Option<Instant>,
    /// Whether the services it fronts can be served here.
    pub ready: bool,
    /// The packet of its VRID that was rejected last.
    pub rejected: Option<RejectedPacket>,
    /// Two masters are heard, since when.
    pub contested: Option<Instant>,
    /// The firewall of this node refuses its advertisements now.
    pub refused: bool,
    /// Somebody else uses its VRID for other addresses.
    pub stranger: Option<Stranger>,
    /// An operator froze it.
    pub frozen: bool,
    /// The priority an operator set instead of the configured one.
    pub priority_override: Option<u8>,
    /// What it follows and how that is, in words such as `check-db down`.
    pub tracks: Vec<String>,
    /// How its session with the master is, where one was tried.
    pub session: Option<String>,
    /// Programs on this node that may take its addresses away, in words; seen when one was taken last.
    pub suspects: Option<String>,
}

/// A packet that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedPacket {
    /// Why.
    pub reason: RejectReason,
    /// Who sent it, as its header says.
    pub source: Option<IpAddr>,
    /// When.
    pub at: Instant,
}

/// Somebody else's virtual router of the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Who sends its advertisements.
    pub source: IpAddr,
    /// The addresses it lists.
    pub addresses: Vec<IpAddr>,
    /// A VRID that was not heard on this interface.
    pub free_vrid: Option<u8>,
    /// When it was heard last.
    pub at: Instant,
}

/// A virtual router's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Not started, or waiting for its interface.
    #[default]
    Initialize,
    /// Listening.
    Backup,
    /// Owns the addresses.
    Master,
    /// Gave up being master, serves on until the successor has announced itself.
    Leaving,
    /// Cannot take part: its interface, or one it tracks, is down.
    Fault,
}

/// Why a packet of protocol 112 was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the labels say it")]
pub enum RejectReason {
    Truncated,
    Version,
    Type,
    Checksum,
    TtlNot255,
    Authentication,
    Interval,
    AddressCount,
    Destination,
    Length,
    Unsealed,
    Replayed,
    UnknownPeer,
    PeerTtl,
}

impl RejectReason {
    /// Every reason, in label order.
    pub const ALL: [Self; 14] = [
        Self::Truncated,
        Self::Version,
        Self::Type,
        Self::Checksum,
        Self::TtlNot255,
        Self::Authentication,
        Self::Interval,
        Self::AddressCount,
        Self::Destination,
        Self::Length,
        Self::Unsealed,
        Self::Replayed,
        Self::UnknownPeer,
        Self::PeerTtl,
    ];

    /// Its name in logs and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Version => "version",
            Self::Type => "type",
            Self::Checksum => "checksum",
            Self::TtlNot255 => "ttl",
            Self::Authentication => "authentication",
            Self::Interval => "interval",
            Self::AddressCount => "address-count",
            Self::Destination => "destination",
            Self::Length => "length",
            Self::Unsealed => "unsealed",
            Self::Replayed => "replayed",
            Self::UnknownPeer => "unknown-peer",
            Self::PeerTtl => "peer-ttl",
        }
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Initialize, Self::Backup, Self::Master, Self::Leaving, Self::Fault];

    /// Its name in logs, pages and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Master => "master",
            Self::Leaving => "leaving",
            Self::Fault => "fault",
        }
    }
}

impl RouterStats {
    /// Counts a packet that was not accepted.
    pub fn count_reject(&self, reason: RejectReason) {
        self.rejected[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Packets not accepted for one reason.
    #[must_use]
    pub fn rejected(&self, reason: RejectReason) -> u64 {
        self.rejected[reason as usize].load(Ordering::Relaxed)
    }

    /// Its state.
    #[must_use]
    pub fn status(&self) -> RouterStatus {
        lock(&self.status).clone()
    }

    /// Changes its state.
    pub fn update_status(&self, change: impl FnOnce(&mut RouterStatus)) {
        change(&mut lock(&self.status));
    }
}
