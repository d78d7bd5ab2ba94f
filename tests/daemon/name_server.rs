//! A name server of one name, or of one service, that says what the test wants.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::support::own_ip;

/// What it answers.
#[derive(Clone)]
pub(crate) enum Says {
    Nothing,
    Code(ResponseCode),
    /// An address, for so many seconds.
    Host(IpAddr, u32),
    /// Weight, port and the last byte of the address of each target.
    Service(Vec<(u16, u16, u8)>),
}

pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    pub(crate) fn start(says: Says) -> Self {
        let socket = UdpSocket::bind((own_ip(), 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::new(AtomicUsize::new(0)));
        let (words, counter) = (Arc::clone(&says), Arc::clone(&asked));
        // Ends with the test's process.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                counter.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = answer(&buffer[..length], &words.lock().unwrap()) {
                    let _gone = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, says, asked }
    }

    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(query: &[u8], says: &Says) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let mut message = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    message.metadata.recursion_available = true;
    message.metadata.recursion_desired = true;
    message.add_query(question.clone());
    let name = question.name().clone();
    let mut add = |ttl, data| {
        message.add_answer(Record::from_rdata(name.clone(), ttl, data));
    };
    match (says, question.query_type()) {
        (Says::Nothing, _) => return None,
        (Says::Code(code), _) => message.metadata.response_code = *code,
        (Says::Host(IpAddr::V4(address), ttl), RecordType::A) => add(*ttl, RData::A(A(*address))),
        (Says::Service(targets), RecordType::SRV) => {
            for (weight, port, last) in targets {
                let target = Name::from_ascii(format!("n{last}.test.")).ok()?;
                add(0, RData::SRV(SRV::new(0, *weight, *port, target)));
            }
        }
        (Says::Service(_), RecordType::A) => {
            let last = question.name().to_string().trim_start_matches('n').split('.').next()?.parse().ok()?;
            add(0, RData::A(A(Ipv4Addr::new(127, 0, 0, last))));
        }
        (Says::Host(..) | Says::Service(_), _) => {}
    }
    message.to_vec().ok()
}
