//! Signals as values. They are blocked from the first instruction on and waited for by a thread of their own
//! (sigwait(3)), so none is lost between the start and the moment somebody listens.

use std::io;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// HUP: read the files again.
    Reload,
    /// TERM: hand over and end.
    Stop,
    /// INT: end now.
    Quit,
}

fn handled() -> SigSet {
    // Monitoring sends USR1 and USR2 to keepalived: here they are taken and change nothing.
    SigSet::from_iter([
        Signal::SIGHUP,
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGPIPE,
    ])
}

/// Blocks them in this thread and in every thread it will start: the first thing `run` does.
pub(super) fn block() -> io::Result<()> {
    handled().thread_block().map_err(Into::into)
}

/// Starts the waiting thread.
pub(super) fn listen() -> io::Result<UnboundedReceiver<Request>> {
    let (requests, receiver) = unbounded_channel();
    thread::Builder::new().name("signals".into()).spawn(move || {
        loop {
            let request = match handled().wait() {
                Ok(Signal::SIGHUP) => Request::Reload,
                Ok(Signal::SIGTERM) => Request::Stop,
                Ok(Signal::SIGINT) => Request::Quit,
                Ok(_) | Err(_) => continue,
            };
            if requests.send(request).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
