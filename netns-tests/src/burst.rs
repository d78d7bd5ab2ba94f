//! Many short connections, as fast as they go: for what must not grow.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::node::Node;

/// Connections open at once.
const PARALLEL: usize = 8;
const LIMIT: Duration = Duration::from_secs(5);

/// Opens `count` connections from `node` through `targets` and `sources` in turn, echoes a line over each, closes it.
/// Says how many failed.
#[must_use]
pub fn burst(node: &Node, targets: &[SocketAddr], sources: &[IpAddr], count: usize) -> usize {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= count {
                return;
            }
            if once(targets[turn % targets.len()], sources[turn % sources.len()]).is_err() {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| node.exec_in(worker));
        }
    });
    failed.into_inner()
}

fn once(target: SocketAddr, source: IpAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&target.into(), LIMIT)?;
    socket.set_tcp_nodelay(true)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"x\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 64];
    // The server's name, then the echo.
    while !answer.ends_with(b"\nx\n") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}
