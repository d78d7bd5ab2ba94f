//! Stick tables of a million entries: what one insertion, one lookup and one returning client cost on one core, and what
//! the table weighs. `make bench` runs it; it is never part of CI.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench reads the clock and prints")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput};
use vipgate::balance::sticky::{Bounds, Table};
use vipgate::model::{Key, KeyType, TableSpec};

const ENTRIES: u32 = 1_000_000;

/// Clients in no order.
fn address(n: u32) -> Key {
    Key::Address(Ipv4Addr::from(n.wrapping_mul(0x9e37_79b1)).into())
}

/// Names of 20 bytes.
fn name(n: u32) -> Key {
    Key::Bytes(format!("{:020}", n.wrapping_mul(0x9e37_79b1)).into_bytes().into())
}

fn filled(kind: KeyType, key: fn(u32) -> Key, now: Instant) -> Table {
    let spec = TableSpec { expire: Some(Duration::from_secs(3600)), ..TableSpec::new(kind, ENTRIES as usize) };
    let mut table = Table::new(Bounds::Stick(spec));
    (0..ENTRIES).for_each(|n| visit(&mut table, key(n), now));
    table
}

/// A flow that comes, is established and ends.
fn visit(table: &mut Table, key: Key, now: Instant) {
    if let Some(pin) = table.pin(key, 1, now) {
        table.prove(pin, 1);
        table.release(pin, now);
    }
}

/// Memory of the process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn weigh(what: &str, kind: KeyType, key: fn(u32) -> Key) {
    let before = resident();
    let table = filled(kind, key, Instant::now());
    println!("{what}: {ENTRIES} entries take {} MB", (resident() - before) / 1_000_000);
    drop(black_box(table));
}

fn measure(criterion: &mut Criterion, what: &str, kind: KeyType, key: fn(u32) -> Key) {
    let now = Instant::now();
    let mut table = filled(kind, key, now);
    let mut next = 0_u32;
    let mut group = criterion.benchmark_group(what);
    group.throughput(Throughput::Elements(1));
    group.bench_function("lookup", |bencher| {
        bencher.iter_batched(
            || {
                next = next.wrapping_add(7919) % ENTRIES;
                key(next)
            },
            |key| black_box(table.get(&key, now)),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("returning client", |bencher| {
        bencher.iter_batched(
            || {
                next = next.wrapping_add(7919) % ENTRIES;
                key(next)
            },
            |key| visit(&mut table, key, now),
            BatchSize::SmallInput,
        );
    });
    let mut new = ENTRIES;
    group.bench_function("insert, which purges the oldest", |bencher| {
        bencher.iter_batched(
            || {
                new = new.wrapping_add(1);
                key(new)
            },
            |key| visit(&mut table, key, now),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn main() {
    weigh("addresses", KeyType::Ipv6, address);
    weigh("names of 20 bytes", KeyType::Text(32), name);
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion, "addresses", KeyType::Ipv6, address);
    measure(&mut criterion, "names of 20 bytes", KeyType::Text(32), name);
    criterion.final_summary();
}
