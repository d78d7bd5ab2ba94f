//! Where lines go: sockets and standard streams, written by the log's own thread. None of them can make it wait for long.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Setup;
use super::dress::dress;
use super::record::{About, Record};
use crate::model::LogPlace;

/// A target that refused a line is left alone for this long where opening it failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The targets that are open.
#[derive(Default)]
pub(super) struct Targets {
    open: HashMap<LogPlace, Place>,
}

enum Place {
    Udp(UdpSocket),
    Unix(UnixDatagram),
    Stream,
    /// It could not be opened.
    Broken(Instant),
}

impl Targets {
    /// Writes a line to every target that wants it. What cannot be written is lost, and counted.
    pub(super) fn write(&mut self, record: &Record, setup: &Setup, lost: &AtomicU64) {
        let (targets, all) = match &record.about {
            About::Process => (&setup.targets[..], true),
            About::Connection => (&setup.targets[..], false),
            About::ConnectionOf(own) => (&own[..], true),
        };
        for target in targets.iter().filter(|target| all || target.connections) {
            let Some(line) = dress(target, &setup.sender, record) else { continue };
            if self.send(&target.to, &line).is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Forgets what is no target any more.
    pub(super) fn retain(&mut self, setup: &Setup) {
        self.open.retain(|place, _| setup.targets.iter().any(|target| target.to == *place));
    }

    fn send(&mut self, to: &LogPlace, line: &[u8]) -> io::Result<()> {
        let stale = |place: &Place| matches!(place, Place::Broken(at) if at.elapsed() >= PAUSE);
        if self.open.get(to).is_none_or(stale) {
            self.open.insert(to.clone(), open(to).unwrap_or_else(|_| Place::Broken(Instant::now())));
        }
        let sent = match (self.open.get(to), to) {
            (Some(Place::Udp(socket)), _) => socket.send(line).map(drop),
            (Some(Place::Unix(socket)), _) => socket.send(line).map(drop),
            (Some(Place::Stream), LogPlace::Stdout) => io::stdout().write_all(line).and_then(|()| io::stdout().flush()),
            (Some(Place::Stream), _) => io::stderr().write_all(line),
            (Some(Place::Broken(_)) | None, _) => return Err(io::ErrorKind::NotConnected.into()),
        };
        match sent {
            // Nobody listened there a moment ago; this line may be heard.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && matches!(to, LogPlace::Udp(_)) => {
                match self.open.get(to) {
                    Some(Place::Udp(socket)) => socket.send(line).map(drop),
                    Some(Place::Unix(_) | Place::Stream | Place::Broken(_)) | None => Err(error),
                }
            }
            // The daemon that listened there is another one now: it is looked for at the next line.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.open.remove(to);
                Err(error)
            }
            other => other,
        }
    }
}

fn open(to: &LogPlace) -> io::Result<Place> {
    Ok(match to {
        LogPlace::Udp(address) => {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            socket.set_nonblocking(true)?;
            Place::Udp(socket)
        }
        LogPlace::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_nonblocking(true)?;
            Place::Unix(socket)
        }
        LogPlace::Stdout | LogPlace::Stderr => Place::Stream,
    })
}
