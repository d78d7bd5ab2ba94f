//! Health checks that find the names of ticket keys, as the process has them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use vipgate::config::Loading;
use vipgate::probe::{Ended, Event, Policy, Prober};
use vipgate::stats::Registry;

use crate::fronts::Front;
use crate::servers::Kind;

const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Checks {
    _runtime: Runtime,
    _prober: Prober,
    found: std::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
}

impl Checks {
    pub(crate) fn start(servers: &[SocketAddr]) -> Self {
        let servers: Vec<String> = servers.iter().map(|address| format!("\"{address}\"")).collect();
        let text = format!(
            "[[service]]\nname = \"app\"\nlisten = \"127.0.0.1:1\"\naffinity = \"tls\"\n\
             check = {{ interval = \"1s\", tls = {{ name = \"app.example.org\", verify = false }} }}\nservers = [{}]\n",
            servers.join(", ")
        );
        let mut loading = Loading::new();
        loading.text("checks.toml", &text);
        let config = loading.finish(&vipgate::config::resolve).unwrap_or_else(|failed| panic!("{failed}")).config;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (events, found) = mpsc::unbounded_channel();
        let prober = runtime.block_on(async {
            let no_commands = Arc::new(|_| -> std::pin::Pin<Box<dyn Future<Output = (Ended, String)> + Send>> {
                panic!("no check is a command")
            });
            Prober::start(Arc::new(Registry::default()), events, no_commands)
        });
        prober.apply(&config.pools, Policy { spread_percent: 0, log_checks: false }, "n1");
        Self { _runtime: runtime, _prober: prober, found: std::sync::Mutex::new(found) }
    }

    /// Tells the front what is found, until each server has been looked at.
    pub(crate) fn tell_names(&self, front: &Front) {
        let mut missing: BTreeSet<usize> = (0..Kind::ALL.len()).collect();
        let end = Instant::now() + Duration::from_secs(20);
        while !missing.is_empty() {
            assert!(Instant::now() < end, "no name was found for {missing:?}");
            let Ok(event) = self.found.lock().unwrap().try_recv() else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            if let Event::KeyName { server, name, .. } = event {
                // The front counts from 0.
                let number = server.trim_start_matches('s').parse::<usize>().unwrap() - 1;
                // Two tickets may have more in common, by chance.
                let expected = Kind::ALL[number].name_length();
                assert!((expected..expected + 2).contains(&name.len()), "the name of {server}'s key: {name:02x?}");
                front.proxy().set_key_name("app", &format!("s{number}"), &name);
                missing.remove(&number);
            }
        }
    }

    /// What was found until now is of the past. A check that was under way has ended after an interval.
    pub(crate) fn forget(&self) {
        std::thread::sleep(INTERVAL);
        while self.found.lock().unwrap().try_recv().is_ok() {}
    }
}
