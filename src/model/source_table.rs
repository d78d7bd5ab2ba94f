//! Tables in which sources are counted.

use std::time::Duration;

use super::rule::Counter;

/// Counters of sources by address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    /// Unique name; services that name the same one share it.
    pub name: String,
    /// Most sources. The one that was longest without a connection is forgotten for a new one.
    pub size: usize,
    /// A source is forgotten this long after its last connection; none: never.
    pub expire: Option<Duration>,
    /// A full table counts no new source instead of forgetting one (HAProxy's `nopurge`).
    pub nopurge: bool,
    /// IPv6 sources are told apart by so many bits of their address; none are counted when it is 0.
    pub ipv6_bits: u8,
    /// The time over which `conn_rate` counts.
    pub connection_period: Duration,
    /// The time over which `gpc0_rate` counts.
    pub gpc0_period: Duration,
    /// The time over which `gpc1_rate` counts.
    pub gpc1_period: Duration,
    /// The time over which `sess_rate` counts; none: no sessions are counted.
    pub session_period: Option<Duration>,
    /// The time over which `bytes_in_rate` counts; none: what sources bring is not counted.
    pub bytes_in_period: Option<Duration>,
    /// The time over which `bytes_out_rate` counts; none: what they get is not counted.
    pub bytes_out_period: Option<Duration>,
}

impl SourceTable {
    /// For 100,000 sources that are forgotten after 30 minutes, with rates a second, IPv6 networks of /64 taken as one.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            size: 100_000,
            expire: Some(Duration::from_secs(1800)),
            nopurge: false,
            ipv6_bits: 64,
            connection_period: Duration::from_secs(1),
            gpc0_period: Duration::from_secs(1),
            gpc1_period: Duration::from_secs(1),
            session_period: None,
            bytes_in_period: None,
            bytes_out_period: None,
        }
    }

    /// Whether sessions or bytes are counted.
    #[must_use]
    pub fn counts_traffic(&self) -> bool {
        self.session_period.or(self.bytes_in_period).or(self.bytes_out_period).is_some()
    }

    /// Whether it keeps this counter.
    #[must_use]
    pub fn keeps(&self, counter: Counter) -> bool {
        match counter {
            Counter::SessionCount | Counter::SessionRate => self.session_period.is_some(),
            Counter::KilobytesIn | Counter::BytesInRate => self.bytes_in_period.is_some(),
            Counter::KilobytesOut | Counter::BytesOutRate => self.bytes_out_period.is_some(),
            Counter::ConnectionCount
            | Counter::Connections
            | Counter::ConnectionRate
            | Counter::CountConnection
            | Counter::Purpose(_)
            | Counter::PurposeRate(_)
            | Counter::Increment(_)
            | Counter::Clear(_) => true,
        }
    }
}
