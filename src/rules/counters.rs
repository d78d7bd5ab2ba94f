//! Counters of sources by address: bounded, and what is held by an open connection is never forgotten.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::model::rule::{Counter, Purpose, SourceTable};

/// The counters of one table.
#[derive(Debug)]
pub struct Counters {
    spec: SourceTable,
    rows: Vec<Row>,
    free: Vec<u32>,
    by_source: HashMap<IpAddr, u32>,
    /// Sources without an open connection, by their last one.
    idle: BTreeSet<(Instant, u32)>,
}

/// A source that a connection counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held(u32);

/// A source as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is counted as.
    pub address: IpAddr,
    /// Its connections so far.
    pub count: u64,
    /// Its open connections.
    pub open: u64,
    /// Its connections within the table's period.
    pub rate: u64,
    /// `gpc0` and `gpc1`.
    pub purpose: [u64; 2],
    /// How often they were raised within their periods.
    pub purpose_rate: [u64; 2],
    /// Its sessions and bytes, where they are counted.
    pub traffic: Option<Passed>,
    /// When it is forgotten; none: never, or not as long as a connection is open.
    pub expires_in: Option<Duration>,
}

/// Sessions and bytes of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Connections that were let in so far.
    pub sessions: u64,
    /// Those within their period.
    pub session_rate: u64,
    /// Bytes brought and got; those of an open connection are counted every few seconds.
    pub bytes: [u64; 2],
    /// Those within their periods.
    pub byte_rates: [u64; 2],
}

#[derive(Debug)]
struct Row {
    source: IpAddr,
    count: u64,
    open: u64,
    rate: Rate,
    purpose: [u64; 2],
    purpose_rate: [Rate; 2],
    /// Where the table counts it.
    traffic: Option<Box<Traffic>>,
    last: Instant,
}

#[derive(Debug)]
struct Traffic {
    sessions: u64,
    session_rate: Rate,
    /// Brought, and got.
    bytes: [u64; 2],
    byte_rates: [Rate; 2],
}

/// How often something happened within the last period, on the assumption that it was spread evenly over the period
/// before: two numbers, and as HAProxy counts.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    began: Instant,
    current: u64,
    before: u64,
}

impl Rate {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { began: now, current: 0, before: 0 }
    }

    fn roll(&mut self, period: Duration, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began);
        if elapsed >= period * 2 {
            *self = Self::new(now);
        } else if elapsed >= period {
            *self = Self { began: self.began + period, current: 0, before: self.current };
        }
    }

    /// It happened once more.
    pub fn add(&mut self, period: Duration, now: Instant) {
        self.add_many(1, period, now);
    }

    fn add_many(&mut self, count: u64, period: Duration, now: Instant) {
        self.roll(period, now);
        self.current += count;
    }

    /// How often it happened within the last `period`.
    #[must_use]
    pub fn value(mut self, period: Duration, now: Instant) -> u64 {
        self.roll(period, now);
        let left = period.saturating_sub(now.saturating_duration_since(self.began));
        let share = left.as_secs_f64() / period.as_secs_f64().max(f64::MIN_POSITIVE);
        self.current + (self.before as f64 * share) as u64
    }
}

impl Row {
    fn passed(&self, spec: &SourceTable, now: Instant) -> Passed {
        let Some(traffic) = &self.traffic else {
            return Passed { sessions: 0, session_rate: 0, bytes: [0; 2], byte_rates: [0; 2] };
        };
        let value = |rate: Rate, period: Option<Duration>| period.map_or(0, |period| rate.value(period, now));
        let [brought, got] = traffic.byte_rates;
        Passed {
            sessions: traffic.sessions,
            session_rate: value(traffic.session_rate, spec.session_period),
            bytes: traffic.bytes,
            byte_rates: [value(brought, spec.bytes_in_period), value(got, spec.bytes_out_period)],
        }
    }
}

impl Counters {
    /// An empty table.
    #[must_use]
    pub fn new(spec: SourceTable) -> Self {
        Self { spec, rows: Vec::new(), free: Vec::new(), by_source: HashMap::new(), idle: BTreeSet::new() }
    }

    /// Other bounds and times (a reload): what was counted stays.
    pub fn reconfigure(&mut self, spec: SourceTable, now: Instant) {
        self.spec = spec;
        self.expire(now);
        while self.by_source.len() > self.spec.size && self.forget_oldest() {}
    }

    /// What it was made for.
    #[must_use]
    pub fn spec(&self) -> &SourceTable {
        &self.spec
    }

    /// Sources that are known.
    pub fn len(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.by_source.len()
    }

    /// Counts one more connection of a source, until [`Counters::release`]. None: the source is not counted, for its family
    /// or because the table is full.
    pub fn hold(&mut self, source: IpAddr, now: Instant) -> Option<Held> {
        let period = self.spec.connection_period;
        let row = self.make(source, now)?;
        let place = self.rows.get_mut(row as usize)?;
        self.idle.remove(&(place.last, row));
        place.last = now;
        place.count += 1;
        place.open += 1;
        place.rate.add(period, now);
        Some(Held(row))
    }

    /// A connection that was counted was let in.
    pub fn begin_session(&mut self, held: Held, now: Instant) {
        let Some(period) = self.spec.session_period else { return };
        if let Some(traffic) = self.traffic(held, now) {
            traffic.sessions += 1;
            traffic.session_rate.add(period, now);
        }
    }

    /// A connection that was counted brought and got so many bytes.
    pub fn pass(&mut self, held: Held, bytes: [u64; 2], now: Instant) {
        let periods = self.byte_periods();
        if bytes == [0; 2] || periods == [None; 2] {
            return;
        }
        let Some(traffic) = self.traffic(held, now) else { return };
        for (way, (count, period)) in bytes.into_iter().zip(periods).enumerate() {
            let Some(period) = period else { continue };
            traffic.bytes[way] += count;
            traffic.byte_rates[way].add_many(count, period, now);
        }
    }

    /// A connection that was counted has ended.
    pub fn release(&mut self, held: Held, now: Instant) {
        if let Some(row) = self.rows.get_mut(held.0 as usize) {
            row.open = row.open.saturating_sub(1);
            row.last = now;
            if row.open == 0 {
                self.idle.insert((now, held.0));
            }
        }
    }

    /// A counter of a source; none when it is not known. (To change one of an unknown source makes it known.)
    pub fn of_source(&mut self, source: IpAddr, counter: Counter, now: Instant) -> Option<u64> {
        self.expire(now);
        let row = match counter {
            Counter::Increment(_) | Counter::CountConnection => self.make(source, now)?,
            _ => *self.by_source.get(&self.key(source)?)?,
        };
        self.of_held(Held(row), counter, now)
    }

    /// A counter of a source that a connection counts for.
    pub fn of_held(&mut self, held: Held, counter: Counter, now: Instant) -> Option<u64> {
        if !self.spec.keeps(counter) {
            return None;
        }
        let periods = [self.spec.gpc0_period, self.spec.gpc1_period];
        let row = self.rows.get_mut(held.0 as usize)?;
        let passed = row.passed(&self.spec, now);
        let place = |purpose: Purpose| usize::from(purpose == Purpose::Gpc1);
        Some(match counter {
            Counter::ConnectionCount => row.count,
            Counter::Connections => row.open,
            Counter::ConnectionRate => row.rate.value(self.spec.connection_period, now),
            Counter::Purpose(purpose) => row.purpose[place(purpose)],
            Counter::PurposeRate(purpose) => row.purpose_rate[place(purpose)].value(periods[place(purpose)], now),
            Counter::Increment(purpose) => {
                row.purpose_rate[place(purpose)].add(periods[place(purpose)], now);
                row.purpose[place(purpose)] += 1;
                row.purpose[place(purpose)]
            }
            Counter::Clear(purpose) => std::mem::take(&mut row.purpose[place(purpose)]),
            Counter::SessionCount => passed.sessions,
            Counter::SessionRate => passed.session_rate,
            Counter::KilobytesIn => passed.bytes[0] / 1024,
            Counter::KilobytesOut => passed.bytes[1] / 1024,
            Counter::BytesInRate => passed.byte_rates[0],
            Counter::BytesOutRate => passed.byte_rates[1],
            Counter::CountConnection => {
                row.count += 1;
                row.count
            }
        })
    }

    fn byte_periods(&self) -> [Option<Duration>; 2] {
        [self.spec.bytes_in_period, self.spec.bytes_out_period]
    }

    fn traffic(&mut self, held: Held, now: Instant) -> Option<&mut Traffic> {
        let none = || {
            let rate = Rate::new(now);
            Box::new(Traffic { sessions: 0, session_rate: rate, bytes: [0; 2], byte_rates: [rate; 2] })
        };
        Some(self.rows.get_mut(held.0 as usize)?.traffic.get_or_insert_with(none))
    }

    /// Every source, in the order of their addresses.
    pub fn sources(&mut self, now: Instant) -> Vec<Source> {
        self.expire(now);
        let periods = [self.spec.gpc0_period, self.spec.gpc1_period];
        let source = |row: &u32| {
            let row = self.rows.get(*row as usize)?;
            let age = now.saturating_duration_since(row.last);
            let [one, two] = row.purpose_rate;
            Some(Source {
                address: row.source,
                count: row.count,
                open: row.open,
                rate: row.rate.value(self.spec.connection_period, now),
                purpose: row.purpose,
                purpose_rate: [one.value(periods[0], now), two.value(periods[1], now)],
                traffic: self.spec.counts_traffic().then(|| row.passed(&self.spec, now)),
                expires_in: self.spec.expire.filter(|_| row.open == 0).map(|life| life.saturating_sub(age)),
            })
        };
        let mut sources: Vec<Source> = self.by_source.values().filter_map(source).collect();
        sources.sort_unstable_by_key(|source| source.address);
        sources
    }

    /// Forgets sources, except those with an open connection. Returns how many.
    pub fn forget(&mut self, sources: &[IpAddr]) -> usize {
        let mut forgotten = 0;
        for source in sources {
            let Some(&row) = self.by_source.get(source) else { continue };
            let Some(last) = self.rows.get(row as usize).map(|row| row.last) else { continue };
            if self.idle.remove(&(last, row)) {
                self.by_source.remove(source);
                self.free.push(row);
                forgotten += 1;
            }
        }
        forgotten
    }

    /// The row of a source, made if it is new and may be had.
    fn make(&mut self, source: IpAddr, now: Instant) -> Option<u32> {
        self.expire(now);
        let source = self.key(source)?;
        if let Some(row) = self.by_source.get(&source) {
            return Some(*row);
        }
        if self.by_source.len() >= self.spec.size && (self.spec.nopurge || !self.forget_oldest()) {
            return None;
        }
        let new = Row {
            source,
            count: 0,
            open: 0,
            rate: Rate::new(now),
            purpose: [0; 2],
            purpose_rate: [Rate::new(now); 2],
            traffic: None,
            last: now,
        };
        let row = match self.free.pop() {
            Some(row) => {
                *self.rows.get_mut(row as usize)? = new;
                row
            }
            None => {
                self.rows.push(new);
                u32::try_from(self.rows.len() - 1).ok()?
            }
        };
        self.by_source.insert(source, row);
        self.idle.insert((now, row));
        Some(row)
    }

    /// What a source is counted as.
    fn key(&self, source: IpAddr) -> Option<IpAddr> {
        match source.to_canonical() {
            IpAddr::V4(address) => Some(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let others = 128u32.checked_sub(u32::from(self.spec.ipv6_bits))?;
                let network = u128::MAX.checked_shl(others)?;
                Some(IpAddr::V6(Ipv6Addr::from(u128::from(address) & network)))
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        let Some(life) = self.spec.expire else { return };
        while self.idle.first().is_some_and(|(last, _)| now.saturating_duration_since(*last) >= life) {
            self.forget_oldest();
        }
    }

    /// False when every source has an open connection.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, row)) = self.idle.pop_first() else { return false };
        if let Some(place) = self.rows.get(row as usize) {
            self.by_source.remove(&place.source);
            self.free.push(row);
        }
        true
    }
}
