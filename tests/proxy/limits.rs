//! Limits, shortages, and what is left after many connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vipgate::stats::EndReason;

use crate::support::*;

fn answers(stream: &mut TcpStream, within: Duration) -> bool {
    stream.set_read_timeout(Some(within)).unwrap();
    let answers = stream.read(&mut [0; 2]).is_ok_and(|count| count == 2);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    answers
}

#[test]
fn beyond_its_limit_a_service_leaves_clients_in_the_queue() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let mut limited = service(net.at(1, 8000));
    limited.max_connections = Some(2);
    let running = Running::start(limited, pool(&[net.at(2, 9000)]));
    let mut served: Vec<_> = (0..2).map(|_| connect(net.at(1, 8000))).collect();
    assert!(served.iter_mut().all(|client| greeting(client) == "s1"));
    let mut waiting = connect(net.at(1, 8000));
    assert!(!answers(&mut waiting, Duration::from_millis(200)));
    let start = Instant::now();
    served.pop();
    assert!(answers(&mut waiting, Duration::from_secs(2)));
    println!("a client waited {:?} for room after it was made", start.elapsed());
    let stats = running.registry.service("web");
    assert_eq!((stats.open.load(Ordering::Relaxed), stats.open_max.load(Ordering::Relaxed)), (2, 2));
    assert!(stats.limited.load(Ordering::Relaxed) > 0);
}

#[test]
fn the_limit_of_the_process_can_be_changed() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let mut running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    running.proxy.set_max_connections(Some(1));
    let mut first = connect(net.at(1, 8000));
    assert_eq!(greeting(&mut first), "s1");
    let mut second = connect(net.at(1, 8000));
    assert!(!answers(&mut second, Duration::from_millis(150)));
    running.proxy.set_max_connections(None);
    assert!(answers(&mut second, Duration::from_secs(2)));
    assert_eq!(running.proxy.open_flows(), 2);
}

#[test]
fn five_thousand_connections_leave_nothing_behind() {
    let net = Net::new();
    serve(net.at(2, 9000), |mut stream| {
        let ping = read::<4>(&mut stream);
        let _gone = stream.write_all(&ping);
    });
    let mut pool = pool(&[net.at(2, 9000)]);
    pool.affinity = stick();
    let running = Running::start(service(net.at(1, 8000)), pool);
    let address = net.at(1, 8000);
    let round = |count: usize| {
        let clients: Vec<_> = (0..5)
            .map(|_| {
                std::thread::spawn(move || {
                    for _ in 0..count / 5 {
                        let mut client = connect(address);
                        client.write_all(b"ping").unwrap();
                        assert_eq!(read(&mut client), *b"ping");
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        running.wait_idle();
    };
    round(5000);
    let stats = running.registry.service("web");
    assert_eq!(stats.accepted.load(Ordering::Relaxed), 5000);
    assert_eq!(running.ended(EndReason::Complete), 5000);
    assert_eq!(stats.open.load(Ordering::Relaxed), 0);
    assert_eq!(running.registry.server("pool", "s1").open.load(Ordering::Relaxed), 0);
    assert_eq!(running.proxy.table_len("pool"), 1);
}

#[test]
fn a_shortage_of_descriptors_ends_nothing() {
    // In a process of its own: it takes every descriptor there is.
    let test = std::env::current_exe().unwrap();
    let args = ["--exact", "limits::short_of_descriptors", "--ignored"];
    let output = std::process::Command::new(test).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "takes every descriptor of its process: run by a_shortage_of_descriptors_ends_nothing"]
fn short_of_descriptors() {
    let net = Net::of_child();
    serve_named(net.at(2, 9000), "s1");
    let mut running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    running.proxy.set_max_connections(Some(1));
    let mut first = connect(net.at(1, 8000));
    assert_eq!(greeting(&mut first), "s1");
    let mut waiting: Vec<_> = (0..10).map(|_| connect(net.at(1, 8000))).collect();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    taken.pop();
    running.proxy.set_max_connections(Some(1000));
    eventually("a shortage", || running.registry.descriptor_shortages.load(Ordering::Relaxed) > 1);
    drop(taken);
    // Who was accepted when there was no descriptor for a server was reset; the others waited.
    let served = waiting.iter_mut().filter(|client| client.peek(&mut [0]).is_ok_and(|count| count == 1)).count();
    assert!(served >= 5, "{served}");
}

#[test]
fn workers_beat_although_nothing_happens() {
    let net = Net::new();
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    for heartbeat in running.proxy.heartbeats() {
        let before = heartbeat.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
        assert_ne!(heartbeat.load(Ordering::Relaxed), before);
    }
}

#[test]
fn a_stop_lets_connections_end_and_resets_the_rest() {
    let net = Net::new();
    serve_named(net.at(2, 9000), "s1");
    let running = Running::start(service(net.at(1, 8000)), pool(&[net.at(2, 9000)]));
    let (mut ending, mut staying) = (connect(net.at(1, 8000)), connect(net.at(1, 8000)));
    assert_eq!((greeting(&mut ending), greeting(&mut staying)), ("s1".into(), "s1".into()));
    let Running { proxy, registry } = running;
    let start = Instant::now();
    let stopped = std::thread::spawn(move || proxy.stop(Duration::from_millis(400)));
    eventually("listeners closed", || TcpStream::connect(net.at(1, 8000)).is_err());
    ending.write_all(b"bye").unwrap();
    assert_eq!(read(&mut ending), *b"bye");
    drop(ending);
    stopped.join().unwrap();
    assert!((Duration::from_millis(400)..Duration::from_millis(700)).contains(&start.elapsed()));
    assert!(is_reset(&mut staying));
    let stats = registry.service("web");
    assert_eq!(stats.ended(EndReason::Stopped), 1);
    assert!(stats.ended(EndReason::Complete) >= 1);
}
