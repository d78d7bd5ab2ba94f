//! Structure-aware fuzzing of every parser that faces the segment, and of routers fed with what gets through.
//!
//! Valid packets are altered field by field, then their lengths and checksums are repaired, so that most get past
//! validation; the shares are printed. `VIPGATE_FUZZ=10000000 cargo test --release --test fuzz_wire -- --nocapture`.

#[cfg(test)]
#[path = "fuzz/draws.rs"]
mod draws;
#[cfg(test)]
#[path = "fuzz/flights.rs"]
mod flights;
#[cfg(test)]
#[path = "fuzz/hellos.rs"]
mod hellos;
#[cfg(test)]
#[path = "fuzz/packets.rs"]
mod packets;
#[cfg(test)]
#[path = "fuzz/peers.rs"]
mod peers;
#[cfg(test)]
#[path = "fuzz/rdp.rs"]
mod rdp;

use packets::{Fuzzer, Shares};

/// How often everything is tried, if somebody says so.
fn told() -> Option<u64> {
    std::env::var("VIPGATE_FUZZ").ok()?.parse().ok()
}

fn executions() -> u64 {
    told().unwrap_or(200_000)
}

#[test]
fn no_packet_panics_and_what_is_read_is_written_again() {
    let executions = executions();
    let mut fuzzer = Fuzzer::new(0x5eed);
    for _ in 0..executions {
        fuzzer.execute();
    }
    let Shares { adverts, parsed, admitted, announcements, recognised } = fuzzer.shares;
    println!("{executions} executions");
    println!("adverts {adverts}: {parsed} parsed, {admitted} admitted by a router");
    println!("announcements {announcements}: {recognised} recognised");
    assert!(parsed * 2 > adverts, "most adverts get past validation");
    assert!(admitted * 5 > adverts, "many adverts reach a router");
    assert!(recognised * 2 > announcements, "most announcements are recognised");
}

#[test]
fn no_hello_panics_and_what_is_certain_stays() {
    // A hello is heard in every cut: one costs as much as many packets.
    let executions = told().map_or(50_000, |packets| packets / 20);
    let mut fuzzer = hellos::Fuzzer::new(0x7155);
    for _ in 0..executions {
        fuzzer.execute();
    }
    let hellos::Shares { read, awaited, refused } = fuzzer.shares;
    println!("{executions} hellos: {read} read, {awaited} awaited, {refused} refused");
    assert!(
        read * 4 > executions && refused * 10 > executions && awaited * 20 > executions,
        "every answer is seen often"
    );
}

#[test]
fn no_server_flight_panics_and_no_cut_changes_what_is_heard() {
    let executions = executions();
    let mut fuzzer = flights::Fuzzer::new(0xf119);
    for _ in 0..executions {
        fuzzer.execute();
    }
    let flights::Shares { said, awaited, refused } = fuzzer.shares;
    println!("{executions} flights of servers: {said} told something, {awaited} awaited, {refused} refused");
    assert!(
        said * 4 > executions && refused * 20 > executions && awaited * 20 > executions,
        "every answer is seen often: {said} {awaited} {refused}"
    );
}

#[test]
fn no_hello_panics_however_many_there_are() {
    let executions = executions();
    let mut fuzzer = hellos::Fuzzer::new(0x7156);
    for _ in 0..executions {
        fuzzer.execute_quickly();
    }
    let hellos::Shares { read, awaited, refused } = fuzzer.shares;
    println!("{executions} hellos, each in one cut: {read} read, {awaited} awaited, {refused} refused");
    assert!(read * 4 > executions && refused * 10 > executions, "{read} {awaited} {refused}");
}

#[test]
fn no_rdp_request_panics_and_what_is_certain_stays() {
    let executions = executions();
    let mut fuzzer = rdp::Fuzzer::new(0x3389);
    for _ in 0..executions {
        fuzzer.execute();
    }
    let rdp::Shares { named, awaited, refused } = fuzzer.shares;
    println!("{executions} requests of RDP: {named} named somebody, {awaited} awaited, {refused} refused");
    assert!(
        named * 5 > executions && awaited * 20 > executions && refused * 10 > executions,
        "every answer is seen often: {named} {awaited} {refused}"
    );
}

#[test]
fn no_peer_panics_and_pieces_make_no_difference() {
    let executions = executions();
    let mut fuzzer = peers::Fuzzer::new(0x9ee5);
    for _ in 0..executions {
        fuzzer.execute();
    }
    let peers::Shares { messages, updates, refused } = fuzzer.shares;
    println!("{executions} sessions of peers: {messages} messages, {updates} updates; {refused} refused");
    assert!(
        messages > executions && updates * 3 > executions && refused * 20 > executions,
        "every answer is seen often"
    );
}
