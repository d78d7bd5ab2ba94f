//! Mail through the whole daemon, in a network namespace: as root only.

use std::sync::mpsc;
use std::thread::JoinHandle;

use netns_tests::gate::Gate;
use netns_tests::lab::Lab;
use netns_tests::lan::{Cut, Link};
use netns_tests::node::Node;
use netns_tests::wait::until_true;
use tokio::sync::oneshot;

use crate::sink::{Received, Sink};
use crate::support::LONG;

/// A node, the network it is on, and a mail server in it.
struct Scene {
    node: Node,
    link: Link,
    sink: Sink,
    _end: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
    _lab: Lab,
}

impl Scene {
    fn build(test: &str) -> Option<Self> {
        let lab = Lab::for_test(test)?;
        let node = lab.node("a");
        let link = lab.lan("front").attach(&node, "eth0", &["192.0.2.1/24"]);
        let (started, sink) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let thread = node.thread("sink", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                started.send(Sink::start(&[]).await).unwrap();
                let _scene_gone = ended.await;
            });
        });
        Some(Self { node, link, sink: sink.recv().unwrap(), _end: end, _thread: thread, _lab: lab })
    }

    /// Becomes master, loses its link, and ends.
    fn live(&self, option: &str, name: &str, text: &str) -> Vec<Received> {
        let gate = Gate::from_file(&self.node, option, &self.node.write(name, text));
        let said = |word: &str| gate.log().contains(&format!("to=\"{word}\""));
        until_true(format_args!("a master; {}", gate.log()), LONG, || said("master"));
        self.link.cut(Cut::Carrier);
        until_true(format_args!("a fault; {}", gate.log()), LONG, || said("fault"));
        until_true("the first mail", LONG, || !self.sink.mails().is_empty());
        gate.terminate();
        gate.wait_end();
        self.sink.mails()
    }
}

/// Each transition is in one of them, in order, whatever was gathered.
#[track_caller]
fn every_transition_is_told(mails: &[Received]) {
    for mail in mails {
        assert_eq!(
            (mail.from.as_str(), mail.header("From").as_str()),
            ("FROM:<front@example.com>", "front@example.com")
        );
        assert_eq!(mail.to, ["admin@example.com"]);
    }
    let text: String = mails.iter().map(|mail| mail.header("Subject") + "\n" + &mail.body()).collect();
    // Alone, a transition is the subject; gathered, each begins a paragraph.
    let told = text.lines().map(|line| line.trim_start_matches("[a] "));
    let states: Vec<&str> = told.filter_map(|line| line.strip_prefix("VRRP Instance front - Entering ")).collect();
    assert_eq!(states, ["BACKUP state", "MASTER state", "FAULT state"], "{text}");
}

#[test]
fn the_daemon_mails_every_transition_and_the_last_ones_when_it_ends() {
    let Some(scene) = Scene::build("mail, TOML") else { return };
    let port = scene.sink.address.port();
    let text = format!(
        "[global]\nnode = \"a\"\n[mail]\nserver = \"127.0.0.1:{port}\"\nfrom = \"front@example.com\"\n\
         to = [\"admin@example.com\"]\n[[virtual-router]]\nname = \"front\"\ninterface = \"eth0\"\nvrid = 51\n\
         interval = \"100ms\"\naddresses = [\"192.0.2.100/24\"]\n"
    );
    every_transition_is_told(&scene.live("--config", "vipgate.toml", &text));
}

#[test]
fn the_daemon_mails_as_its_keepalived_conf_says() {
    let Some(scene) = Scene::build("mail, keepalived.conf") else { return };
    let port = scene.sink.address.port();
    let text = format!(
        "global_defs {{\n router_id a\n notification_email {{\n  admin@example.com\n }}\n \
         notification_email_from front@example.com\n smtp_server 127.0.0.1 {port}\n}}\n\
         vrrp_instance front {{\n version 3\n interface eth0\n virtual_router_id 51\n advert_int 0.1\n smtp_alert\n \
         virtual_ipaddress {{\n  192.0.2.100/24\n }}\n}}\n"
    );
    every_transition_is_told(&scene.live("--keepalived", "keepalived.conf", &text));
}
