//! Who is asked after a takeover, when, and what is said of those who never answer: on a virtual clock, with a kernel that
//! only keeps what is sent.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use tokio::sync::mpsc::{self, unbounded_channel};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep};

use super::addresses::{self, Order, Setup, Work};
use super::charge::Charge;
use super::interfaces::Interfaces;
use super::kernel::{Kernel, Refused};
use super::routes::Placed;
use super::vmac;
use crate::model::{Family, Prefix, Rule, Scope, VirtualAddress, VirtualRouter, Vrid};
use crate::wire::{Announcement, Mac, arp, ndp};

const ETH0: u32 = 2;
const MAC: Mac = [2, 0, 0, 0, 0, 1];
const ROUTER: u64 = 1;

/// What was sent after this many milliseconds: a question to somebody, or an announcement.
type Sent = (u64, String);

/// A node with `eth0`, whose default routes lead to these gateways.
struct Node {
    gateways: Vec<(u32, IpAddr)>,
    own: IpAddr,
    begun: Instant,
    sent: RefCell<Vec<Sent>>,
    heard: RefCell<Option<mpsc::UnboundedReceiver<Announcement>>>,
}

impl Node {
    fn describe(&self, frame: &[u8]) -> String {
        let asks = |(_, target): &(u32, IpAddr)| match (*target, self.own) {
            (IpAddr::V4(target), IpAddr::V4(own)) => arp::request(target, own, MAC).as_slice() == frame,
            (IpAddr::V6(target), IpAddr::V6(own)) => ndp::solicitation(target, own, MAC).as_slice() == frame,
            _ => false,
        };
        match self.gateways.iter().find(|gateway| asks(gateway)) {
            Some((_, gateway)) => format!("ask {gateway}"),
            None => format!("announce {}", Announcement::parse(frame).expect("an announcement").address),
        }
    }
}

struct FakeKernel(Rc<Node>);

impl Kernel for FakeKernel {
    async fn dump(&self) -> io::Result<Interfaces> {
        let mut link = LinkMessage::default();
        link.header.index = ETH0;
        link.header.link_layer_type = LinkLayerType::Ether;
        link.header.flags = LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp;
        link.attributes = vec![LinkAttribute::IfName("eth0".into()), LinkAttribute::Address(MAC.to_vec())];
        let mut interfaces = Interfaces::default();
        interfaces.apply(&RouteNetlinkMessage::NewLink(link));
        Ok(interfaces)
    }

    async fn set(&self, wanted: &[(u32, VirtualAddress)]) -> Vec<Result<(), Refused>> {
        vec![Ok(()); wanted.len()]
    }

    async fn remove(&self, unwanted: &[(u32, Prefix)]) -> Vec<Result<(), Refused>> {
        vec![Ok(()); unwanted.len()]
    }

    async fn forget_unreached(&self, _indexes: &BTreeSet<u32>) -> io::Result<()> {
        Ok(())
    }

    async fn set_routes(&self, _wanted: &[Placed]) -> Vec<Result<(), Refused>> {
        Vec::new()
    }

    async fn remove_routes(&self, _unwanted: &[Placed]) -> Vec<Result<(), Refused>> {
        Vec::new()
    }

    async fn set_rule(&self, _rule: &Rule) -> Result<(), Refused> {
        Ok(())
    }

    async fn remove_rule(&self, _rule: &Rule) -> Result<(), Refused> {
        Ok(())
    }

    fn routing_losses(&self) -> io::Result<BoxStream<'static, ()>> {
        Ok(stream::pending().boxed())
    }

    async fn make_link(&self, _wanted: &vmac::Wanted) -> Result<RouteNetlinkMessage, Refused> {
        Err(Refused(libc::EOPNOTSUPP))
    }

    async fn switch_link(&self, _link: &vmac::Found, _up: bool) -> Result<(), Refused> {
        Ok(())
    }

    async fn remove_link(&self, _unwanted: &vmac::Found) -> Result<(), Refused> {
        Ok(())
    }

    async fn remove_leftovers(&self) -> io::Result<()> {
        Ok(())
    }

    fn announcements(&self, index: u32) -> io::Result<BoxStream<'static, Announcement>> {
        assert_eq!(index, ETH0);
        let mut heard = self.0.heard.borrow_mut().take().expect("listens once");
        Ok(stream::poll_fn(move |context| heard.poll_recv(context)).boxed())
    }

    async fn gateways(&self) -> io::Result<Vec<(u32, IpAddr)>> {
        Ok(self.0.gateways.iter().copied().filter(|(index, _)| *index > 0).collect())
    }

    fn transmit(&self, frame: &[u8], index: u32) -> io::Result<()> {
        assert_eq!(index, ETH0);
        let sent = (u64::try_from(self.0.begun.elapsed().as_millis()).unwrap(), self.0.describe(frame));
        self.0.sent.borrow_mut().push(sent);
        Ok(())
    }

    fn forwards(&self, _interface: &str) -> bool {
        false
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A takeover of `address` by a router that asks these beside its gateways.
struct Takeover {
    node: Rc<Node>,
    address: VirtualAddress,
    orders: mpsc::UnboundedSender<Order>,
    segment: mpsc::UnboundedSender<Announcement>,
}

impl Takeover {
    fn begin(address: &str, gateways: &[(u32, &str)], ask: &[&str]) -> Self {
        let prefix: Prefix = address.parse().unwrap();
        let address = VirtualAddress {
            prefix,
            interface: "eth0".parse().unwrap(),
            label: None,
            scope: Scope::Global,
            broadcast: None,
        };
        let (segment, heard) = unbounded_channel();
        let asked = ask.iter().map(|target| (0, ip(target)));
        let node = Rc::new(Node {
            gateways: gateways.iter().map(|(index, gateway)| (*index, ip(gateway))).chain(asked).collect(),
            own: prefix.address,
            begun: Instant::now(),
            sent: RefCell::default(),
            heard: RefCell::new(Some(heard)),
        });
        let mut config =
            VirtualRouter::new("front", "eth0".parse().unwrap(), Vrid::new(1).unwrap(), Family::of(prefix.address));
        config.announce.ask = ask.iter().map(|target| ip(target)).collect();
        let (orders, ordered) = unbounded_channel();
        let setup = Setup {
            orders: ordered,
            inputs: unbounded_channel().0.downgrade(),
            notices: unbounded_channel().0,
            kernel: FakeKernel(Rc::clone(&node)),
            notifications: stream::pending().boxed(),
            configured: BTreeSet::new(),
        };
        spawn_local(addresses::run(setup, std::sync::mpsc::channel().0));
        let charge = Charge::of(&config);
        let takeover = Self { node, address, orders, segment };
        takeover.order(Order::Register { router: ROUTER, stats: Arc::default(), link: None, charge });
        takeover.order(Order::Work(ROUTER, Work::Acquire(vec![takeover.address.clone()])));
        takeover
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    /// `from` says to our address where it is.
    fn answer(&self, from: &str) {
        let told = Announcement { address: ip(from), mac: [2, 0, 0, 0, 0, 9], to: self.node.own };
        self.segment.send(told).unwrap();
    }

    /// What was sent so far.
    fn sent(&self) -> Vec<String> {
        self.node.sent.borrow().iter().map(|(at, what)| format!("{at} {what}")).collect()
    }
}

/// Runs a test on the virtual clock; what it logged.
fn on_virtual_time<F: Future<Output = ()>>(test: F) -> String {
    let log = Arc::<Mutex<Vec<u8>>>::default();
    let writer = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Log(Arc::clone(&writer)));
    tracing::subscriber::with_default(subscriber.finish(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(LocalSet::new().run_until(test));
    });
    let log = log.lock().unwrap();
    String::from_utf8(log.clone()).unwrap()
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn the_gateways_of_its_family_and_link_are_asked_until_they_answer() {
    let log = on_virtual_time(async {
        let gateways = [(ETH0, "fe80::fe"), (ETH0, "2001:db8::fe"), (ETH0, "192.0.2.254"), (ETH0 + 1, "fe80::9")];
        let takeover = Takeover::begin("2001:db8::100/64", &gateways, &[]);
        sleep(ms(50)).await;
        assert_eq!(takeover.sent(), ["0 ask 2001:db8::fe", "0 ask fe80::fe"]);
        takeover.answer("2001:db8::fe");
        sleep(ms(100)).await;
        assert_eq!(takeover.sent()[2..], ["100 ask fe80::fe", "100 announce 2001:db8::100"]);
        // Another's answer is none.
        takeover.answer("fe80::9");
        sleep(ms(200)).await;
        assert_eq!(takeover.sent()[4..], ["300 ask fe80::fe", "300 announce 2001:db8::100"]);
        takeover.answer("fe80::fe");
        sleep(ms(20_000)).await;
        assert_eq!(takeover.sent().len(), 6, "{:?}", takeover.sent());
    });
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn those_it_is_told_to_ask_are_asked_beside_the_gateways() {
    on_virtual_time(async {
        let ask = ["192.0.2.7", "192.0.2.100", "2001:db8::7"];
        let takeover = Takeover::begin("192.0.2.100/24", &[(ETH0, "192.0.2.254")], &ask);
        sleep(ms(50)).await;
        assert_eq!(takeover.sent(), ["0 ask 192.0.2.7", "0 ask 192.0.2.254"], "not itself, nor another family");
        takeover.answer("192.0.2.254");
        sleep(ms(100)).await;
        assert_eq!(takeover.sent()[2..], ["100 ask 192.0.2.7", "100 announce 192.0.2.100"]);
    });
}

#[test]
fn one_that_never_answers_is_asked_ten_times_and_then_named() {
    let log = on_virtual_time(async {
        let takeover = Takeover::begin("192.0.2.100/24", &[(ETH0, "192.0.2.254")], &["192.0.2.7"]);
        sleep(ms(50)).await;
        takeover.answer("192.0.2.7");
        sleep(ms(60_000)).await;
        let questions: Vec<u64> = takeover
            .node
            .sent
            .borrow()
            .iter()
            .filter_map(|(at, what)| (what == "ask 192.0.2.254").then_some(*at))
            .collect();
        assert_eq!(questions, [0, 100, 300, 700, 1500, 2500, 3500, 4500, 5500, 6500]);
        let announced = takeover.sent().iter().filter(|line| line.contains("announce")).count();
        assert_eq!(announced, 9, "with each question but the first");
    });
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    let warning = warnings[0];
    assert!(warning.contains("asked 10 times since the takeover and never answered"), "{warning}");
    assert!(warning.contains("router=\"front\"") && warning.contains("gateway=192.0.2.254"), "{warning}");
}

#[test]
fn who_gave_up_asks_nobody_any_more_and_complains_of_nobody() {
    let log = on_virtual_time(async {
        let takeover = Takeover::begin("192.0.2.100/24", &[(ETH0, "192.0.2.254")], &[]);
        sleep(ms(400)).await;
        takeover.order(Order::Work(ROUTER, Work::Release(vec![takeover.address.clone()])));
        sleep(ms(60_000)).await;
        let asked = takeover.sent().iter().filter(|line| line.contains("ask")).count();
        assert_eq!(asked, 3, "{:?}", takeover.sent());
    });
    assert!(!log.contains("WARN"), "{log}");
}
