//! The shell, against a name server of our own on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::model::{Hold, NameKind, Server, ServerName, ServerPort};

/// What the name server says now.
#[derive(Clone)]
enum Says {
    Hosts(Vec<[u8; 4]>, u32),
    Service(Vec<(u16, &'static str)>),
    Code(ResponseCode),
    Nothing,
    /// Over UDP that the answer is too long; over TCP the answer.
    TooLong([u8; 4]),
}

struct NameServer {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    async fn start(says: Says) -> Self {
        let (socket, listener) = loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The same port for UDP may be taken.
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let address = listener.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::new(AtomicUsize::new(0)));
        let (over_udp, over_tcp, counter) = (Arc::clone(&says), Arc::clone(&says), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                let said = over_udp.lock().unwrap().clone();
                if let Some(answer) = answer(&buffer[..length], &said, false) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Ok(length) = stream.read_u16().await else { continue };
                let mut query = vec![0; usize::from(length)];
                stream.read_exact(&mut query).await.unwrap();
                let said = over_tcp.lock().unwrap().clone();
                let answer = answer(&query, &said, true).unwrap();
                stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        Self { address, says, asked }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    fn resolver(&self) -> Resolver {
        Resolver {
            servers: vec![self.address.into()],
            system: false,
            retries: 1,
            timeout: Duration::from_millis(200),
            least_refresh: Duration::from_millis(50),
            hold: Hold { nx: Some(Duration::ZERO), ..Resolver::new("").hold },
            ..Resolver::new("ours")
        }
    }
}

fn answer(query: &[u8], says: &Says, tcp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries[0].clone();
    let mut message = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    message.metadata.recursion_available = true;
    message.add_query(question.clone());
    let name = question.name().clone();
    let host = |address: [u8; 4], ttl: u32| Record::from_rdata(name.clone(), ttl, RData::A(A(address.into())));
    match says {
        Says::Nothing => return None,
        Says::Code(code) => message.metadata.response_code = *code,
        Says::TooLong(_) if !tcp => message.metadata.truncation = true,
        Says::TooLong(address) => drop(message.add_answer(host(*address, 60))),
        Says::Hosts(addresses, ttl) if question.query_type() == RecordType::A => {
            for address in addresses {
                message.add_answer(host(*address, *ttl));
            }
        }
        Says::Service(targets) if question.query_type() == RecordType::SRV => {
            for (port, target) in targets {
                let target = SRV::new(0, 1, *port, Name::from_ascii(target).unwrap());
                message.add_answer(Record::from_rdata(name.clone(), 0, RData::SRV(target)));
            }
        }
        // The target `n7.test.` is at 127.0.0.7.
        Says::Service(_) if question.query_type() == RecordType::A => {
            let text = name.to_string();
            let last = text.trim_start_matches('n').split('.').next().unwrap().parse().unwrap();
            message.add_answer(host([127, 0, 0, last], 0));
        }
        Says::Hosts(..) | Says::Service(_) => {}
    }
    Some(message.to_vec().unwrap())
}

fn pool(name: &ServerName, servers: &[&str]) -> Pool {
    let server = |server: &&str| Server {
        name_of: Some(ServerName { resolver: Some("ours".into()), ..name.clone() }),
        port: ServerPort::Fixed(1),
        ..Server::new(*server, Ipv4Addr::UNSPECIFIED.into())
    };
    Pool::new("p", servers.iter().map(server).collect())
}

struct Watched {
    names: Names,
    news: mpsc::UnboundedReceiver<Resolved>,
}

impl Watched {
    fn start(pool: Pool, resolver: Resolver) -> Self {
        let (sender, news) = mpsc::unbounded_channel();
        let names = Names::start(sender);
        names.apply(&[pool], &[resolver]);
        Self { names, news }
    }

    /// Reads on until a server is at a place, or has lost it for this reason.
    async fn until(&mut self, server: &str, wanted: Result<(&str, Option<u16>), &str>) {
        let reached = async {
            loop {
                let said = self.news.recv().await.unwrap();
                let fits = match (&said.place, &wanted) {
                    (Ok(place), Ok((address, port))) => place.address.to_string() == *address && place.port == *port,
                    (Err(reason), Err(part)) => reason.contains(part),
                    _ => false,
                };
                if said.server == server && fits {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap_or_else(|_| panic!("{server}: {wanted:?}"));
    }
}

#[tokio::test]
async fn an_answer_that_changes_moves_the_server_and_one_that_still_has_its_address_does_not() {
    let dns = NameServer::start(Says::Hosts(vec![[127, 0, 0, 2]], 0)).await;
    let mut watched = Watched::start(pool(&ServerName::new("www.test."), &["a"]), dns.resolver());
    watched.until("a", Ok(("127.0.0.2", None))).await;
    // In front, but no reason to move.
    dns.say(Says::Hosts(vec![[127, 0, 0, 9], [127, 0, 0, 2]], 0));
    let before = dns.asked.load(Ordering::SeqCst);
    while dns.asked.load(Ordering::SeqCst) < before + 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(watched.news.try_recv().is_err(), "it stays where it is");
    dns.say(Says::Hosts(vec![[127, 0, 0, 9], [127, 0, 0, 4]], 0));
    watched.until("a", Ok(("127.0.0.9", None))).await;
}

#[tokio::test]
async fn an_answer_is_asked_for_again_only_when_it_has_lived() {
    let dns = NameServer::start(Says::Hosts(vec![[127, 0, 0, 2]], 3600)).await;
    let mut watched = Watched::start(pool(&ServerName::new("www.test."), &["a"]), dns.resolver());
    watched.until("a", Ok(("127.0.0.2", None))).await;
    let asked = dns.asked.load(Ordering::SeqCst);
    // Ten times as long as an answer without a life is kept.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(dns.asked.load(Ordering::SeqCst), asked);
    // A reload asks at once, and says what is known before.
    watched.names.apply(&[pool(&ServerName::new("www.test."), &["a"])], &[dns.resolver()]);
    watched.until("a", Ok(("127.0.0.2", None))).await;
}

#[tokio::test]
async fn silence_keeps_the_last_answer_and_a_name_that_is_gone_takes_it() {
    let dns = NameServer::start(Says::Nothing).await;
    let mut watched = Watched::start(pool(&ServerName::new("www.test."), &["a"]), dns.resolver());
    watched.until("a", Err("not answered yet")).await;
    watched.until("a", Err("no name server answers")).await;
    dns.say(Says::Hosts(vec![[127, 0, 0, 2]], 0));
    watched.until("a", Ok(("127.0.0.2", None))).await;
    dns.say(Says::Nothing);
    let before = dns.asked.load(Ordering::SeqCst);
    while dns.asked.load(Ordering::SeqCst) < before + 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(watched.news.try_recv().is_err(), "silence says nothing about a server");
    dns.say(Says::Code(ResponseCode::NXDomain));
    watched.until("a", Err("there is no such name")).await;
}

#[tokio::test]
async fn an_answer_too_long_for_udp_comes_over_tcp() {
    let dns = NameServer::start(Says::TooLong([127, 0, 0, 8])).await;
    let mut watched = Watched::start(pool(&ServerName::new("www.test."), &["a"]), dns.resolver());
    watched.until("a", Ok(("127.0.0.8", None))).await;
}

#[tokio::test]
async fn targets_of_an_srv_record_are_spread_over_the_servers() {
    let dns = NameServer::start(Says::Service(vec![(81, "n5.test."), (82, "n6.test.")])).await;
    let name = ServerName { kind: NameKind::Service, ..ServerName::new("_http._tcp.test.") };
    let mut watched = Watched::start(pool(&name, &["a", "b", "c"]), dns.resolver());
    watched.until("a", Ok(("127.0.0.5", Some(81)))).await;
    watched.until("b", Ok(("127.0.0.6", Some(82)))).await;
    watched.until("c", Err("2 addresses, all taken")).await;
    // The first one goes: who is left stays, and the newcomer goes to a free server.
    dns.say(Says::Service(vec![(82, "n6.test."), (83, "n7.test.")]));
    watched.until("a", Ok(("127.0.0.7", Some(83)))).await;
}
