//! Whatever ends the bench, nothing of it stays behind.

use std::os::fd::AsFd;
use std::process::exit;
use std::time::Duration;

use netns_tests::lab;
use netns_tests::report::loud;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

/// From now on a signal, or the passing of `limit`, removes the namespaces and ends the process. To be called before
/// any other thread runs.
pub(crate) fn guard(limit: Duration) {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().expect("signals can be blocked");
    let descriptor = SignalFd::new(&signals).expect("a signal descriptor");
    std::thread::spawn(move || {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut wanted = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        let signalled = poll(&mut wanted, timeout).is_ok_and(|ready| ready > 0);
        loud(&if signalled { "interrupted".to_owned() } else { format!("not done after {limit:?}, given up") });
        lab::remove_all_of(std::process::id());
        exit(if signalled { 130 } else { 1 });
    });
}
