use std::io::Write as _;
use std::time::Instant;

use vipgate::model::{
    Action, Agent, Check, CheckResult, Connect, Conversation, Expect, Pattern, ProxyVersion, Server, Source,
    Transparent,
};

use crate::support::{Bench, MS, conversation, facts, first, hear_until, listen, say, server, steps};

fn connect() -> Action {
    Action::Connect(Connect::default())
}

fn expect(text: &str) -> Action {
    Action::Expect(Expect::new(Pattern::Text(text.into())))
}

#[test]
fn a_failure_names_its_step_and_comment() {
    let address = listen(|stream| say(stream, b"+OK\r\n"));
    let nobody = Connect { port: Some(1), ..Connect::default() };
    let mut talk = steps(vec![connect(), expect("OK"), Action::Connect(nobody)]);
    talk.steps[2].comment = Some("the other port".to_owned());
    let status = first(conversation(address, talk.clone()));
    assert_eq!(facts(&status).0, CheckResult::L4Connection);
    assert!(status.reason.starts_with("Layer4 connection problem: connection refused in "), "{}", status.reason);
    assert!(status.reason.ends_with(" ms at step 3 (the other port)"), "{}", status.reason);

    talk.steps.pop();
    talk.steps.push(steps(vec![expect("no")]).steps.remove(0));
    let short = Check { timeout: 1500 * MS, ..conversation(address, talk) };
    let status = first(short);
    assert_eq!(facts(&status).0, CheckResult::L7Timeout);
    assert!(status.reason.contains("at step 1 (expect string 'no')"), "{}", status.reason);
}

#[test]
fn a_server_that_talks_for_ever_or_byte_by_byte_is_bounded() {
    let endless = listen(|mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    let status = first(conversation(endless, steps(vec![connect(), expect("OK")])));
    assert_eq!(facts(&status), (CheckResult::L7Response, None, "TCPCHK did not match content 'OK' at step 2"));

    let slow = listen(|mut stream| {
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(5 * MS);
        }
    });
    let begun = Instant::now();
    let status = first(Check { timeout: 300 * MS, ..conversation(slow, steps(vec![connect(), expect("OK")])) });
    assert_eq!(facts(&status).0, CheckResult::L7Timeout);
    assert!(begun.elapsed() >= 300 * MS, "{:?}", begun.elapsed());
}

#[test]
fn who_speaks_first_is_heard_at_once() {
    let address = listen(|stream| say(stream, b"220 mail\r\n"));
    // A delayed acknowledgement comes after 40 to 200 ms.
    let hasty = Check { timeout: 35 * MS, ..conversation(address, steps(vec![connect(), expect("220")])) };
    Bench::new(server(hasty)).until(|status| status.last_check.as_ref().is_some_and(|check| check.result.passed()));
}

#[test]
fn what_was_sent_last_arrives() {
    let (tell, told) = std::sync::mpsc::channel();
    let address = listen(move |mut stream| {
        stream.write_all(b"hello\n").unwrap();
        let _ = tell.send(hear_until(&mut stream, b"QUIT\r\n"));
    });
    let talk = steps(vec![connect(), expect("hello"), Action::Send(b"QUIT\r\n".to_vec())]);
    let status = first(conversation(address, talk));
    assert_eq!(facts(&status), (CheckResult::L7Ok, Some(0), "(tcp-check)"));
    assert_eq!(told.recv_timeout(20_000 * MS).unwrap().as_deref(), Some(b"QUIT\r\n".as_slice()));
}

#[test]
fn a_proxy_header_goes_first() {
    for (version, header) in [
        (ProxyVersion::V1, b"PROXY TCP4 127.0.0.1 127.0.0.1 ".as_slice()),
        (ProxyVersion::V2, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".as_slice()),
    ] {
        let (tell, told) = std::sync::mpsc::channel();
        let address = listen(move |mut stream| {
            let _ = tell.send(crate::support::hear(&mut stream, header.len()));
            say(stream, b"OK");
        });
        let connect = Connect { proxy_header: Some(version), ..Connect::default() };
        let status = first(conversation(address, Conversation::of(vec![Action::Connect(connect), expect("OK")])));
        assert_eq!(facts(&status).0, CheckResult::L7Ok, "{version:?}");
        assert_eq!(told.recv_timeout(20_000 * MS).unwrap().as_deref(), Some(header), "{version:?}");
    }
}

/// With a time for answers each connection has its own; without one there is one for all. As HAProxy was seen to do it.
#[test]
fn the_time_for_answers_is_each_connections() {
    let address = listen(|mut stream| {
        while crate::support::hear(&mut stream, 1).is_some() {
            std::thread::sleep(600 * MS);
            let _ = stream.write_all(b"OK");
        }
    });
    let ask = || [Action::Send(b"a".to_vec()), expect("OK")];
    let twice = |between: Option<Action>| {
        let actions = [connect()].into_iter().chain(ask()).chain(between).chain(ask()).collect();
        conversation(address, steps(actions))
    };
    let result = |check: Check| facts(&first(check)).0;
    let timed = |check: Check| Check { timeout: 1000 * MS, response_timeout: Some(1000 * MS), ..check };
    assert_eq!(result(timed(twice(None))), CheckResult::L7Timeout);
    assert_eq!(result(timed(twice(Some(connect())))), CheckResult::L7Ok);
    let in_all = |check: Check| Check { timeout: 1000 * MS, ..check };
    assert_eq!(result(in_all(twice(Some(connect())))), CheckResult::L7Timeout);
}

#[test]
fn a_check_and_an_agent_come_from_the_server_s_source() {
    let source = Source {
        address: "127.0.0.9".parse().unwrap(),
        ports: None,
        interface: None,
        transparent: Some(Transparent::ClientIp),
    };
    let target = listen(|stream| {
        let from = stream.peer_addr().unwrap().ip().to_string();
        say(stream, format!("{}\n", if from == "127.0.0.9" { "up" } else { "down" }).as_bytes());
    });
    let expected = steps(vec![Action::Connect(Connect::default()), expect("up")]);
    let check = Check { source: Some(source.own()), ..conversation(target, expected) };
    assert_eq!(facts(&first(check)).0, CheckResult::L7Ok);
    let agent = Agent { source: Some(source.own()), interval: 50 * MS, ..Agent::new(target) };
    let asked = Server { agent: Some(agent), ..Server::new("s1", target.ip()) };
    let status = Bench::new(asked).until(|status| status.agent.is_some());
    assert!(!status.agent_down, "{status:?}");
}

#[test]
fn ssh_and_ftp_are_known() {
    let ssh = listen(|stream| say(stream, b"SSH-2.0-OpenSSH_9.2\r\n"));
    let status = first(conversation(ssh, Conversation::ssh(Connect::default())));
    assert_eq!(facts(&status), (CheckResult::L7Ok, Some(0), "SSH-2.0-OpenSSH_9.2"));
    assert!(status.reason.contains("SSH-2.0-OpenSSH_9.2"), "{}", status.reason);

    let ftp = listen(|mut stream| {
        let _ = stream.write_all(b"220-welcome\r\n220 ready\r\n");
        let _ = hear_until(&mut stream, b"QUIT\r\n");
        say(stream, b"221 bye\r\n");
    });
    let status = first(conversation(ftp, Conversation::ftp(Connect::default())));
    assert_eq!(facts(&status), (CheckResult::L7Ok, Some(221), "bye"));
    let status = first(conversation(ssh, Conversation::ftp(Connect::default())));
    assert_eq!(facts(&status).0, CheckResult::L7Response);
}
