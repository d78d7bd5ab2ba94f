//! What was measured: medians, ratios within a round, spreads; one table.

use std::collections::BTreeMap;

use netns_tests::report::Table;

use crate::subject::Subject;

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Metric {
    ShortRate,
    ShortP50,
    ShortP99,
    ShortCpu,
    Few,
    FewP50,
    FewP99,
    FewCpu,
    Many,
    ManyP50,
    ManyP99,
    ManyCpu,
    Bulk1,
    Bulk1Cpu,
    Bulk4,
    Bulk4Cpu,
    IdleResident,
    IdleProportional,
    Start,
    Ready,
    Descriptors,
    RangeMemory,
    RangeOwn,
    RangeRate,
    Errors,
}

/// Figures by row and subject, each with its round.
#[derive(Default)]
pub(crate) struct Figures {
    rows: BTreeMap<(Metric, Subject), BTreeMap<usize, f64>>,
    /// What other processes took of the processor, each time.
    others: Vec<f64>,
}

impl Metric {
    const ALL: [Self; 25] = [
        Self::ShortRate,
        Self::ShortP50,
        Self::ShortP99,
        Self::ShortCpu,
        Self::Few,
        Self::FewP50,
        Self::FewP99,
        Self::FewCpu,
        Self::Many,
        Self::ManyP50,
        Self::ManyP99,
        Self::ManyCpu,
        Self::Bulk1,
        Self::Bulk1Cpu,
        Self::Bulk4,
        Self::Bulk4Cpu,
        Self::IdleResident,
        Self::IdleProportional,
        Self::Start,
        Self::Ready,
        Self::Descriptors,
        Self::RangeMemory,
        Self::RangeOwn,
        Self::RangeRate,
        Self::Errors,
    ];

    /// `+`: more is better; `-`: less is.
    fn label(self) -> &'static str {
        match self {
            Self::ShortRate => "+ short connections / s",
            Self::ShortP50 => "-   whole connection, p50, us",
            Self::ShortP99 => "-   whole connection, p99, us",
            Self::ShortCpu => "-   CPU s / 100,000 connections",
            Self::Few => "+ keep-alive requests / s, 64 conn.",
            Self::FewP50 => "-   latency p50, us",
            Self::FewP99 => "-   latency p99, us",
            Self::FewCpu => "-   CPU s / 100,000 requests",
            Self::Many => "+ keep-alive requests / s, 1,000 conn.",
            Self::ManyP50 => "-   latency p50, us",
            Self::ManyP99 => "-   latency p99, us",
            Self::ManyCpu => "-   CPU s / 100,000 requests",
            Self::Bulk1 => "+ bulk Gbit/s, 1 stream",
            Self::Bulk1Cpu => "-   CPU s / GB",
            Self::Bulk4 => "+ bulk Gbit/s, 4 streams",
            Self::Bulk4Cpu => "-   CPU s / GB",
            Self::IdleResident => "- idle connection of 4,000, bytes (RSS)",
            Self::IdleProportional => "-   the same as Pss",
            Self::Start => "- start of 10,000 ports, ms",
            Self::Ready => "-   from the first port to all, ms",
            Self::Descriptors => "-   open descriptors",
            Self::RangeMemory => "-   memory (Pss), MB",
            Self::RangeOwn => "-     without program files, MB",
            Self::RangeRate => "+   short connections / s over all",
            Self::Errors => "  failed connections, all rounds",
        }
    }

    fn format(self, value: f64) -> String {
        match self {
            Self::ShortCpu | Self::FewCpu | Self::ManyCpu => format!("{value:.2}"),
            Self::Bulk1Cpu | Self::Bulk4Cpu => format!("{value:.3}"),
            Self::Bulk1 | Self::Bulk4 | Self::Start | Self::Ready | Self::RangeMemory | Self::RangeOwn => {
                format!("{value:.1}")
            }
            Self::ShortRate
            | Self::RangeRate
            | Self::ShortP50
            | Self::ShortP99
            | Self::Few
            | Self::FewP50
            | Self::FewP99
            | Self::Many
            | Self::ManyP50
            | Self::ManyP99
            | Self::IdleResident
            | Self::IdleProportional
            | Self::Descriptors
            | Self::Errors => grouped(value),
        }
    }
}

impl Figures {
    /// Notes a figure; several of one round are added up.
    pub(crate) fn note(&mut self, metric: Metric, subject: Subject, round: usize, value: f64) {
        *self.rows.entry((metric, subject)).or_default().entry(round).or_default() += value;
    }

    /// Notes what other processes took of the processor during one measurement.
    pub(crate) fn note_others(&mut self, share: f64) {
        self.others.push(share);
    }

    /// The median and the largest of those shares.
    pub(crate) fn others(&self) -> Option<(f64, f64)> {
        Spread::of(self.others.iter().copied()).map(|spread| (spread.median, spread.largest))
    }

    /// The table of everything.
    pub(crate) fn render(&self, subjects: &[Subject], rounds: usize) -> String {
        let names: Vec<String> = subjects.iter().map(Subject::to_string).collect();
        let columns: Vec<&str> =
            std::iter::once("+ more, - less is better").chain(names.iter().map(String::as_str)).collect();
        let mut table = Table::new(&format!("bench proxy: medians of {rounds} alternating rounds"), &columns);
        for metric in Metric::ALL {
            let cells: Vec<String> = subjects.iter().map(|&subject| self.cell(metric, subject)).collect();
            let row: Vec<&str> = std::iter::once(metric.label()).chain(cells.iter().map(String::as_str)).collect();
            table.row(&row);
        }
        table.render()
    }

    fn cell(&self, metric: Metric, subject: Subject) -> String {
        let Some(mine) = self.rows.get(&(metric, subject)) else { return "-".to_owned() };
        if metric == Metric::Errors {
            return metric.format(mine.values().sum());
        }
        let Some(spread) = Spread::of(mine.values().copied()) else { return "-".to_owned() };
        let text = metric.format(spread.median);
        if subject == Subject::Haproxy {
            let half = (spread.largest - spread.smallest) / 2.0 / spread.median * 100.0;
            return format!("{text} \u{b1}{half:.0}%");
        }
        let Some(theirs) = self.rows.get(&(metric, Subject::Haproxy)) else { return text };
        let ratios = mine.iter().filter_map(|(round, value)| Some(value / theirs.get(round).filter(|&&v| v > 0.0)?));
        match Spread::of(ratios) {
            Some(ratio) => {
                format!("{text} x{:.2} ({:.2}-{:.2})", ratio.median, ratio.smallest, ratio.largest)
            }
            None => text,
        }
    }
}

struct Spread {
    smallest: f64,
    median: f64,
    largest: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let (&smallest, &largest) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { smallest, median, largest })
    }
}

/// 1234567 as 1,234,567.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
