//! Sockets of the loopback, and the options that they have.

use super::*;

fn listener() -> Listener {
    let options = ListenOptions {
        address: "127.0.0.1:0".parse().unwrap(),
        interface: None,
        nonlocal: false,
        dual_stack: false,
        shared: false,
        backlog: 8,
    };
    Listener::open(options).unwrap()
}

#[test]
fn tuning_reaches_the_kernel_and_is_taken_back() {
    let listener = listener();
    let tuning = ListenTuning {
        defer_accept: Some(Duration::from_secs(1)),
        fast_open: Some(16),
        max_segment: Some(1400),
        user_timeout: Some(Duration::from_secs(7)),
    };
    listener.tune(&tuning).unwrap();
    assert_eq!(listener.0.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
    assert_eq!(listener.0.tcp_mss().unwrap(), 1400);
    listener.tune(&ListenTuning::default()).unwrap();
    assert_eq!(listener.0.tcp_user_timeout().unwrap(), None);
}

#[test]
fn keep_alive_probes_are_set_and_taken_back() {
    let probes = |socket: &Socket| {
        let seconds = |time: io::Result<Duration>| time.unwrap().as_secs();
        let count = socket.tcp_keepalive_retries().unwrap();
        let on = socket.keepalive().unwrap();
        (on, seconds(socket.tcp_keepalive_time()), seconds(socket.tcp_keepalive_interval()), count)
    };
    let own = KeepAlive { idle: Some(Duration::from_secs(7)), interval: None, count: Some(4) };
    let listener = listener();
    let (_, idle, interval, count) = probes(&listener.0);
    let connected = || {
        let to = listener.local_addr().unwrap();
        let (Connecting::Done(client) | Connecting::Started(client)) =
            Stream::connect(to, ConnectOptions::default()).unwrap();
        while !client.is_connected() {}
        client.keep_alive(KeepAlive { interval: Some(Duration::from_secs(3)), ..own }).unwrap();
        let accepted = loop {
            if let Some((accepted, _)) = listener.accept().unwrap() {
                break accepted;
            }
        };
        (probes(&client.socket), probes(&accepted.socket))
    };
    listener.set_keepalive(Some(own)).unwrap();
    assert_eq!(connected(), ((true, 7, 3, 4), (true, 7, interval, 4)));
    listener.set_keepalive(Some(KeepAlive::default())).unwrap();
    assert_eq!(connected().1, (true, idle, interval, count));
    listener.set_keepalive(None).unwrap();
    assert!(!connected().1.0);
}

#[test]
fn nothing_that_is_written_to_a_server_waits_for_an_acknowledgement() {
    let listener = listener();
    let (Connecting::Done(server) | Connecting::Started(server)) =
        Stream::connect(listener.local_addr().unwrap(), ConnectOptions::default()).unwrap();
    let undelayed = || server.socket.tcp_nodelay().unwrap();
    // A header that rides along with what follows is not under way.
    assert_eq!(server.send(b"header", true).unwrap(), 6);
    assert_eq!(server.send(b"first", false).unwrap(), 5);
    assert!(!undelayed(), "the first write waits for nothing");
    assert_eq!(server.send(b"second", false).unwrap(), 6);
    assert!(undelayed());
    let accepted = loop {
        if let Some((accepted, _)) = listener.accept().unwrap() {
            break accepted;
        }
    };
    assert!(accepted.socket.tcp_nodelay().unwrap(), "what a client is sent never waits");
}
