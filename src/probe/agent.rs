//! Agents: what they say, and how they are asked (HAProxy's `agent-check`).

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::connection::{self, Manner};
use super::matching::printable;
use super::outcome::{Outcome, Verdict};
use crate::model::{Agent, CheckResult};

/// More of an answer is not read.
const LONGEST_ANSWER: usize = 4096;

/// What an agent wants changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `ready`: serve.
    Ready,
    /// `drain`: serve the clients that stickiness brings, and nobody new.
    Drain,
    /// `maint`: serve nobody.
    Maintenance,
    /// `75%`: that much of the configured weight.
    Percent(u16),
    /// `maxconn:30`: so many concurrent connections.
    MaxConnections(u32),
}

/// An agent's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// What it says of the server's health; none: nothing, all stays as it is.
    pub(super) up: Option<bool>,
    pub(super) orders: Vec<Order>,
}

/// Asks an agent. That nobody answers is no news of the server.
pub(super) async fn ask(agent: &Agent) -> Answer {
    let started = Instant::now();
    let heard = timeout(agent.timeout, converse(agent)).await;
    let took = started.elapsed();
    match heard {
        Ok(Ok(line)) => read(&line, took),
        Ok(Err(verdict)) => silent(verdict, took),
        Err(_) => silent(Verdict::new(CheckResult::L7Timeout), took),
    }
}

fn silent(verdict: Verdict, took: Duration) -> Answer {
    Answer { outcome: verdict.after(took), up: None, orders: Vec::new() }
}

async fn converse(agent: &Agent) -> Result<Vec<u8>, Verdict> {
    let manner = if agent.send.is_empty() { Manner::Greeted } else { Manner::Brief };
    let mut stream = connection::connect(agent.target, agent.source.as_ref(), manner).await?;
    let mut line = Vec::new();
    let exchange = async {
        stream.write_all(&agent.send).await?;
        let mut chunk = [0; 512];
        while line.len() < LONGEST_ANSWER && !line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            match stream.read(&mut chunk).await? {
                0 => break,
                length => line.extend_from_slice(&chunk[..length]),
            }
        }
        Ok(())
    };
    match exchange.await {
        Ok(()) => Ok(line),
        // What it said before a reset counts.
        Err(_) if !line.is_empty() => Ok(line),
        Err(error) => Err(connection::broken(&error)),
    }
}

/// The first line, in words: `up 75% maxconn:30`, `down #too busy`.
fn read(received: &[u8], took: Duration) -> Answer {
    let end = received.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(received.len());
    let line: Vec<u8> = received[..end].iter().map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect();
    let line = printable(&line);
    let (words, description) = match line.split_once('#') {
        Some((words, description)) => (words, Some(description.trim())),
        None => (line.as_str(), None),
    };
    let mut health = None;
    let mut orders = Vec::new();
    let mut unknown = None;
    for word in words.split([' ', ',']).filter(|word| !word.is_empty()) {
        match word {
            "up" | "down" | "fail" | "failed" | "stopped" => health = Some(word),
            "ready" => orders.push(Order::Ready),
            "drain" => orders.push(Order::Drain),
            "maint" => orders.push(Order::Maintenance),
            word => match figure(word) {
                Some(order) => orders.push(order),
                None => unknown = unknown.or(Some(word)),
            },
        }
    }
    let up = health.map(|word| word == "up");
    let described = description.or(unknown).map_or_else(String::new, |text| format!(" ({text})"));
    // What is understood counts, as in HAProxy: `down overloaded` is down.
    let verdict = match (health, unknown) {
        (None, Some(word)) => {
            let verdict = Verdict::saying(CheckResult::L7Response, format!("agent reports an error : {word}"));
            verdict.because(format!("its agent says `{word}`, which is not understood"))
        }
        (Some(word), _) => {
            let result = if up == Some(true) { CheckResult::L7Ok } else { CheckResult::L7Status };
            let cause = format!("its agent says {word}{described}");
            Verdict::saying(result, format!("via agent : {word}{described}")).because(cause)
        }
        (None, None) => Verdict::new(CheckResult::L7Ok),
    };
    Answer { outcome: verdict.after(took), up, orders }
}

fn figure(word: &str) -> Option<Order> {
    if let Some(number) = word.strip_suffix('%') {
        return number.parse().ok().map(Order::Percent);
    }
    word.strip_prefix("maxconn:")?.parse().ok().map(Order::MaxConnections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(line: &str) -> (Option<bool>, Vec<Order>, String) {
        let answer = read(line.as_bytes(), Duration::ZERO);
        (answer.up, answer.orders, answer.outcome.info)
    }

    #[test]
    fn words_are_in_any_order_and_divided_by_blanks_or_commas() {
        assert_eq!(
            heard("up 75%\tmaxconn:30,ready\r\nmaint\n"),
            (
                Some(true),
                vec![Order::Percent(75), Order::MaxConnections(30), Order::Ready],
                "via agent : up".to_owned()
            )
        );
        assert_eq!(heard("down #too busy\n"), (Some(false), vec![], "via agent : down (too busy)".to_owned()));
        assert_eq!(heard("stopped,drain\n"), (Some(false), vec![Order::Drain], "via agent : stopped".to_owned()));
        assert_eq!(heard("fail#disk 95% full"), (Some(false), vec![], "via agent : fail (disk 95% full)".to_owned()));
        assert_eq!(heard("50%\n"), (None, vec![Order::Percent(50)], String::new()));
        assert_eq!(heard(""), (None, vec![], String::new()));
    }

    #[test]
    fn what_is_understood_counts() {
        for line in ["what now\n", "UP\n", "75 %\n"] {
            let (up, orders, info) = heard(line);
            assert_eq!((up, orders), (None, vec![]), "{line}");
            assert!(info.starts_with("agent reports an error : "), "{info}");
        }
        assert_eq!(heard("down overloaded\n"), (Some(false), vec![], "via agent : down (overloaded)".to_owned()));
        assert_eq!(heard("foo down\n").0, Some(false));
        assert_eq!(heard("down maxconn:x\n").0, Some(false));
        let stopped = heard("stopped drain foo\n");
        assert_eq!(stopped, (Some(false), vec![Order::Drain], "via agent : stopped (foo)".to_owned()));
        assert_eq!(heard("drain foo\n").1, [Order::Drain]);
    }
}
