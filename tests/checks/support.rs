//! One server, checked until something is known of it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use vipgate::model::{Action, Check, CheckKind, CheckResult, Conversation, Pool, Server};
use vipgate::probe::{Ended, Event, Job, Policy, Prober, RunCommand};
use vipgate::stats::{Registry, ServerStatus};

pub(crate) const MS: Duration = Duration::from_millis(1);
/// Longer than any of these checks takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running prober of one server, `b/s1`.
pub(crate) struct Bench {
    runtime: tokio::runtime::Runtime,
    registry: Arc<Registry>,
    _prober: Prober,
    events: UnboundedReceiver<Event>,
}

impl Bench {
    pub(crate) fn new(server: Server) -> Self {
        Self::with_commands(server, |_| (Ended::NotStarted("no commands here".to_owned()), String::new()))
    }

    pub(crate) fn with_commands(
        server: Server,
        run: impl Fn(Job) -> (Ended, String) + Send + Sync + Clone + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let registry = Arc::new(Registry::default());
        let (sender, events) = unbounded_channel();
        let run: RunCommand = Arc::new(move |job| {
            let run = run.clone();
            Box::pin(async move { run(job) })
        });
        let prober = runtime.block_on(async { Prober::start(Arc::clone(&registry), sender, run) });
        prober.apply(&[Pool::new("b", vec![server])], Policy { spread_percent: 0, log_checks: false }, "n1");
        Self { runtime, registry, _prober: prober, events }
    }

    /// Until its state is as wanted.
    pub(crate) fn until(&mut self, wanted: impl Fn(&ServerStatus) -> bool) -> ServerStatus {
        let registry = Arc::clone(&self.registry);
        self.runtime.block_on(async {
            let waiting = async {
                loop {
                    let status = registry.server("b", "s1").status();
                    if wanted(&status) {
                        return status;
                    }
                    tokio::time::sleep(5 * MS).await;
                }
            };
            let ended = tokio::time::timeout(PATIENCE, waiting).await;
            ended.unwrap_or_else(|_| panic!("still {:?}", registry.server("b", "s1").status()))
        })
    }

    pub(crate) fn next_event(&mut self) -> Event {
        let events = &mut self.events;
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, events.recv()).await })
            .expect("an event in time")
            .expect("the prober runs")
    }

    /// Whether nothing is told for a while.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        let events = &mut self.events;
        self.runtime.block_on(async { tokio::time::timeout(time, events.recv()).await }).is_err()
    }
}

pub(crate) fn server(check: Check) -> Server {
    Server { check: Some(check), ..Server::new("s1", IpAddr::V4(Ipv4Addr::LOCALHOST)) }
}

pub(crate) fn conversation(target: SocketAddr, conversation: Conversation) -> Check {
    Check {
        timeout: 5000 * MS,
        interval: 50 * MS,
        fast_interval: 20 * MS,
        down_interval: 50 * MS,
        kind: CheckKind::Conversation(conversation),
        ..Check::new(target)
    }
}

/// What the first check came to.
pub(crate) fn first(check: Check) -> ServerStatus {
    Bench::new(server(check)).until(|status| status.last_check.is_some())
}

/// Result, code, HAProxy's info.
pub(crate) fn facts(status: &ServerStatus) -> (CheckResult, Option<u32>, &str) {
    let check = status.last_check.as_ref().expect("checked");
    (check.result, check.code, &check.detail)
}

/// A server on loopback; `serve` has each connection to itself.
pub(crate) fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Exactly as many bytes; none when the connection ends before.
pub(crate) fn hear(stream: &mut impl std::io::Read, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).ok().map(|()| bytes)
}

/// Everything up to `end`, with it.
pub(crate) fn hear_until(stream: &mut impl std::io::Read, end: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        bytes.extend(hear(stream, 1)?);
    }
    Some(bytes)
}

/// Says `answer` and stays until the other side goes.
pub(crate) fn say(mut stream: TcpStream, answer: &[u8]) {
    if stream.write_all(answer).is_ok() {
        let _ = stream.read(&mut [0; 64]);
    }
}

pub(crate) fn steps(actions: Vec<Action>) -> Conversation {
    let mut conversation = Conversation::of(actions);
    conversation.scripted = true;
    for (index, step) in conversation.steps.iter_mut().enumerate() {
        step.number = u16::try_from(index + 1).unwrap();
    }
    conversation
}
