use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use vipgate::model::{Agent, CheckResult, Server};
use vipgate::probe::{Event, Order, Transition, Wants, Wish};
use vipgate::stats::Health;

use crate::support::{Bench, MS, conversation, facts, hear, listen, say, server};

fn wish(order: Order) -> Event {
    Event::Wish(Wish { pool: "b".to_owned(), server: "s1".to_owned(), wants: Wants::Order(order) })
}

fn with_agent(agent: Agent) -> Server {
    let address = listen(|stream| say(stream, b""));
    Server { agent: Some(agent), ..server(conversation(address, vipgate::model::Conversation::connection())) }
}

#[test]
fn an_agent_says_how_its_server_is() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    const LINES: [&str; 5] = ["up 50% maxconn:30 ready\n", "down #too busy\n", "75%\n", "what now\n", "up drain\n"];
    let address = listen(|mut stream| {
        assert_eq!(hear(&mut stream, 3).as_deref(), Some(b"hi\n".as_slice()));
        let line = LINES[ASKED.fetch_add(1, Ordering::Relaxed).min(LINES.len() - 1)];
        let _ = stream.write_all(line.as_bytes());
    });
    let agent = Agent { interval: 30 * MS, send: b"hi\n".to_vec(), ..Agent::new(address) };
    let mut bench = Bench::new(with_agent(agent));
    for order in [Order::Percent(50), Order::MaxConnections(30), Order::Ready] {
        assert_eq!(bench.next_event(), wish(order));
    }
    let down = bench.next_event();
    let Event::Transition(Transition { up: false, reason, .. }) = down else { panic!("{down:?}") };
    assert!(reason.starts_with("Layer7 wrong status: its agent says down (too busy) in "), "{reason}");
    // It says nothing of its health, then nothing that can be understood: it stays down.
    assert_eq!(bench.next_event(), wish(Order::Percent(75)));
    assert_eq!(bench.next_event(), wish(Order::Drain));
    assert!(matches!(bench.next_event(), Event::Transition(Transition { up: true, .. })));
    let status = bench.until(|status| status.agent.is_some());
    assert_eq!((status.health, status.agent_down), (Health::Up, false));
    // Its own check goes on beside it.
    assert_eq!(facts(&bench.until(|status| status.last_check.is_some())).0, CheckResult::L4Ok);
}

#[test]
fn a_server_that_its_agent_took_down_stays_down_whatever_its_checks_say() {
    let address = listen(|stream| say(stream, b"stopped\n"));
    let mut bench = Bench::new(with_agent(Agent { interval: 20 * MS, ..Agent::new(address) }));
    assert!(matches!(bench.next_event(), Event::Transition(Transition { up: false, .. })));
    assert!(bench.is_silent_for(300 * MS));
    let status = bench.until(|status| status.agent_down);
    assert_eq!((status.health, status.last_check.unwrap().result), (Health::Down, CheckResult::L4Ok));
    assert_eq!(status.agent.unwrap().detail, "via agent : stopped");
}

#[test]
fn an_agent_that_is_sent_nothing_answers_at_once() {
    let address = listen(|stream| say(stream, b"down\n"));
    // A delayed acknowledgement comes after 40 to 200 ms.
    let mut bench = Bench::new(with_agent(Agent { interval: 30 * MS, timeout: 35 * MS, ..Agent::new(address) }));
    bench.until(|status| status.agent_down);
}

#[test]
fn an_agent_that_is_away_is_no_news() {
    let nobody = Agent { interval: 20 * MS, ..Agent::new(([127, 0, 0, 1], 1).into()) };
    let mut bench = Bench::new(with_agent(nobody));
    assert!(bench.is_silent_for(300 * MS));
    let status = bench.until(|status| status.agent.is_some());
    assert_eq!((status.health, status.agent.unwrap().result), (Health::Up, CheckResult::L4Connection));
}

#[test]
fn an_agent_is_asked_in_maintenance_too() {
    let address = listen(|stream| say(stream, b"ready\n"));
    let server = Server { disabled: true, ..with_agent(Agent { interval: 20 * MS, ..Agent::new(address) }) };
    let mut bench = Bench::new(server);
    assert_eq!(bench.next_event(), wish(Order::Ready));
    assert_eq!(bench.until(|status| status.agent.is_some()).last_check, None, "it is not checked");
}
