use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};

use vipgate::model::{CheckResult, Connect, Conversation, HttpExpect, HttpPattern, HttpRequest};
use vipgate::probe::{Event, Transition, Wants, Wish};

use crate::support::{Bench, conversation, facts, first, hear, hear_until, listen, server};

/// Answers every request alike, and tells what it was asked.
fn web(answer: &'static str) -> (std::net::SocketAddr, Receiver<String>) {
    let (tell, told) = channel();
    let address = listen(move |mut stream| {
        let Some(request) = hear_until(&mut stream, b"\r\n\r\n") else { return };
        let mut request = String::from_utf8(request).unwrap();
        if request.contains("content-length: 4") {
            request.push_str(&String::from_utf8(hear(&mut stream, 4).unwrap()).unwrap());
        }
        let _ = tell.send(request);
        let _ = stream.write_all(answer.as_bytes());
    });
    (address, told)
}

fn get(headers: &[(&str, &str)]) -> HttpRequest {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    HttpRequest { method: "GET".to_owned(), target: "/x?y".to_owned(), http11: true, headers, ..HttpRequest::options() }
}

#[test]
fn requests_are_haproxys() {
    let ask = |request: HttpRequest| {
        let (address, asked) = web("HTTP/1.1 204 No Content\r\n\r\n");
        let status =
            first(conversation(address, Conversation::http(Connect::default(), request, vec![HttpExpect::fine()])));
        assert_eq!(facts(&status), (CheckResult::L7Ok, Some(204), ""));
        asked.recv().unwrap()
    };
    assert_eq!(ask(HttpRequest::options()), "OPTIONS / HTTP/1.0\r\n\r\n");
    assert_eq!(
        ask(get(&[("host", "a.example"), ("content-length", "99")])),
        "GET /x?y HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n"
    );
    let post = HttpRequest { method: "POST".to_owned(), body: b"data".to_vec(), ..get(&[("host", "a")]) };
    let request = ask(post);
    assert!(request.ends_with("\r\n\r\ndata") && request.contains("content-length: 4\r\n"), "{request}");
    // A server may wait for a body that is not said to be empty.
    let empty = HttpRequest { method: "POST".to_owned(), ..get(&[("host", "a")]) };
    assert_eq!(ask(empty), "POST /x?y HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let stated = ask(HttpRequest { send_state: true, ..get(&[]) });
    assert!(stated.contains("x-haproxy-server-state: UP 1/3; address=127.0.0.1; port="), "{stated}");
    assert!(stated.contains("; name=b/s1; node=n1; weight=1/1; scur=0/0; qcur=0\r\n"), "{stated}");
}

#[test]
fn everything_that_is_expected_must_hold() {
    let judge = |expect: Vec<HttpExpect>| {
        let (address, _asked) = web("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall ready");
        let status = first(conversation(address, Conversation::http(Connect::default(), get(&[]), expect)));
        status.last_check.unwrap().result
    };
    let text = |text: &str| HttpExpect::new(HttpPattern::Text(text.into()));
    assert_eq!(judge(vec![HttpExpect::fine(), text("ready")]), CheckResult::L7Ok);
    assert_eq!(judge(vec![HttpExpect::fine(), text("late")]), CheckResult::L7Response);
    let other = HttpExpect::new(HttpPattern::Status(vec![204..=204]));
    assert_eq!(judge(vec![other, text("ready")]), CheckResult::L7Status);
}

#[test]
fn an_answer_404_asks_for_no_new_clients() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let address = listen(|mut stream| {
        if hear_until(&mut stream, b"\r\n\r\n").is_some() {
            let status = match ASKED.fetch_add(1, Ordering::Relaxed) {
                0 => "200 OK",
                1..=3 => "404 Not Found",
                4..=7 => "500 No",
                8..=12 => "404 Not Found",
                _ => "200 OK",
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let mut talk = Conversation::http(Connect::default(), get(&[]), vec![HttpExpect::fine()]);
    talk.disable_on_404 = true;
    let mut bench = Bench::new(server(conversation(address, talk)));
    let wish = |wants| Event::Wish(Wish { pool: "b".to_owned(), server: "s1".to_owned(), wants });
    assert_eq!(bench.next_event(), wish(Wants::NoNewClients(true)));
    // Three failures take it down; a 404 does not bring it up again, two answers 200 do.
    assert!(matches!(bench.next_event(), Event::Transition(Transition { up: false, .. })));
    assert!(matches!(bench.next_event(), Event::Transition(Transition { up: true, .. })));
    assert!(ASKED.load(Ordering::Relaxed) >= 15, "{ASKED:?}");
    assert!(!bench.until(|status| status.last_check.is_some()).stopping);
}
