//! Many at once: what is written to them in one system call reaches each of them, and nobody else.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering;

use socket2::SockRef;
use vipgate::stats::EndReason;

use crate::support::*;

const CLIENTS: usize = 96;
const ROUNDS: usize = 150;

/// Bytes that no other client has in this round.
fn word(client: usize, round: usize) -> Vec<u8> {
    let length = 1 + (client * 37 + round * 101) % 5000;
    (0..length).map(|at| (at + client * 7 + round * 13) as u8 ^ client as u8).collect()
}

/// Returns how many bytes it has said.
fn converse(address: SocketAddr, client: usize) -> usize {
    let mut stream = connect(address);
    let mut said = 0;
    for round in 0..ROUNDS {
        let word = word(client, round);
        stream.write_all(&word).unwrap();
        if round + 1 == ROUNDS {
            match client % 3 {
                // The last answer and the end ride together.
                0 => stream.shutdown(Shutdown::Write).unwrap(),
                1 => {}
                _ => SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap(),
            }
        }
        let mut heard = vec![0; word.len()];
        stream.read_exact(&mut heard).unwrap();
        assert!(heard == word, "client {client} hears what it never said in round {round}");
        said += word.len();
    }
    if client.is_multiple_of(3) {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "then the end");
    }
    said
}

fn everybody_hears_itself(running: &Running, address: SocketAddr) {
    let clients: Vec<_> = (0..CLIENTS).map(|client| std::thread::spawn(move || converse(address, client))).collect();
    let said: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
    running.wait_idle();
    let third = CLIENTS as u64 / 3;
    assert_eq!(running.ended(EndReason::ClientAborted), third);
    assert_eq!(running.ended(EndReason::Complete), 2 * third);
    let stats = running.registry.service("web");
    let counted = [&stats.bytes_in, &stats.bytes_out].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counted, [said as u64; 2]);
}

#[test]
fn everybody_hears_itself_in_batches() {
    let net = Net::new();
    serve(net.at(2, 9000), echo);
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    everybody_hears_itself(&running, net.at(1, 8000));
}

#[test]
fn everybody_hears_itself_one_by_one() {
    let net = Net::new();
    serve(net.at(2, 9000), echo);
    let running = Running::start_without_ring(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    everybody_hears_itself(&running, net.at(1, 8000));
}

/// More than are written to in one call; and behind urgent bytes, which a read does not go beyond, each has more to say than
/// was heard when its turn came.
#[test]
fn a_crowd_that_says_much_at_once_hears_itself() {
    const CROWD: usize = 400;
    let net = Net::new();
    serve(net.at(2, 9000), echo);
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    // One after the other: so many at once do not fit into the server's queue.
    let come = |_| {
        let mut stream = connect(net.at(1, 8000));
        stream.write_all(&[1]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        stream
    };
    let mut crowd: Vec<_> = (0..CROWD).map(come).collect();
    for round in (0..40).step_by(4) {
        for part in round..round + 4 {
            for (client, stream) in crowd.iter_mut().enumerate() {
                let word = word(client, part);
                let (first, rest) = word.split_at(word.len() / 2);
                stream.write_all(first).unwrap();
                let (urgent, rest) = rest.split_at(1);
                assert_eq!(SockRef::from(&*stream).send_out_of_band(urgent).unwrap(), 1);
                stream.write_all(rest).unwrap();
            }
        }
        for (client, stream) in crowd.iter_mut().enumerate() {
            let words = (round..round + 4).flat_map(|part| word(client, part)).collect::<Vec<_>>();
            let mut heard = vec![0; words.len()];
            stream.read_exact(&mut heard).unwrap();
            assert!(heard == words, "client {client} hears what it never said in round {round}");
        }
    }
    drop(crowd);
    running.wait_ended(EndReason::Complete, CROWD as u64);
}

#[test]
fn who_does_not_read_holds_nobody_up_and_loses_nothing() {
    let net = Net::new();
    serve(net.at(2, 9000), echo);
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let address = net.at(1, 8000);
    let deaf: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = connect(address);
            stream.set_nonblocking(true).unwrap();
            let mut said = 0;
            while let Ok(count) = stream.write(&[7; 1000]) {
                said += count;
            }
            stream.set_nonblocking(false).unwrap();
            (stream, said)
        })
        .collect();
    let alive: Vec<_> = (0..12).map(|client| std::thread::spawn(move || converse(address, client * 3))).collect();
    let said: usize = alive.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(said > 0);
    for (mut stream, said) in deaf {
        stream.shutdown(Shutdown::Write).unwrap();
        let (mut heard, mut buffer) = (0, vec![0; 100_000]);
        while let count @ 1.. = stream.read(&mut buffer).unwrap() {
            assert!(buffer[..count].iter().all(|byte| *byte == 7));
            heard += count;
        }
        assert_eq!(heard, said);
    }
    running.wait_ended(EndReason::Complete, 28);
}
