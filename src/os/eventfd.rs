//! A counter another thread can wake a poller with.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// An event counter: written by any thread, watched by one poller.
#[derive(Debug)]
pub struct Waker(EventFd);

impl Waker {
    /// A new one at zero. Fails when the process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// Wakes the watcher. A counter that is full has woken it already, so there is nothing to fail.
    pub fn wake(&self) {
        let _full = self.0.write(1);
    }

    /// Takes the count back to zero, so that the next wake is seen.
    pub fn clear(&self) {
        let _empty = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
