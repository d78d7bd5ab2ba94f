//! What it costs to keep clients by their TLS sessions, whose hellos and servers' answers are listened to, beside keeping
//! them by their addresses: the same short connections, in alternating rounds.

use std::time::Duration;

use crate::load::Kind;
use crate::stand::Stand;
use crate::subject::{Subject, Use};
use crate::{Measured, alternate};

/// One line with the ratios of the processor time and of the duration of a connection.
pub(crate) fn compare(stand: &Stand, rounds: usize, window: Duration) -> Result<String, String> {
    let (mut processor, mut median, mut by_source) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let [one, other] = [Use::OnePort, Use::Sessions].map(|what| Subject::Vipgate.start(stand, what));
        let (one, other) = (one?, other?);
        let mut measured = alternate(stand, &[&one, &other], Kind::Hello, window).into_iter();
        let (Some(source), Some(sessions)) = (measured.next(), measured.next()) else { continue };
        let (source, sessions) = (source?, sessions?);
        if source.errors + sessions.errors > 0.0 {
            return Err(format!("{} connections failed", source.errors + sessions.errors));
        }
        let middle = |measured: &Measured| measured.latencies.at(0.5).as_secs_f64();
        by_source.push(source.cpu() * 1e5);
        processor.push(sessions.cpu() / source.cpu());
        median.push(middle(&sessions) / middle(&source));
    }
    let [by_source, processor, median] = [by_source, processor, median].map(|mut values| {
        values.sort_by(f64::total_cmp);
        (values[0], values[rounds / 2], values[rounds - 1])
    });
    let ratio = |(least, middle, most): (f64, f64, f64)| format!("x{middle:.2} ({least:.2}-{most:.2})");
    Ok(format!(
        "affinity by TLS sessions, short connections that say a TLS hello of 512 bytes and resume: CPU {} of that by source \
         ({:.2} s / 100,000), a whole connection's p50 {}",
        ratio(processor),
        by_source.1,
        ratio(median)
    ))
}
