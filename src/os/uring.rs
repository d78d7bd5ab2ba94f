//! Many small system calls in one: io_uring(7), for writes that do not wait and for closes, and for nothing else.
//!
//! A write wakes whoever reads at its other end, and on a busy processor the one that was woken runs as soon as the system
//! call returns. Who answers a hundred clients one by one is interrupted a hundred times, and each finds one answer; written
//! in one call, all answers are there before anybody runs.

#![expect(unsafe_code, reason = "what is queued to a ring is known to the kernel by address and number")]

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use io_uring::{IoUring, Probe, opcode, squeue, types};

/// A ring of one thread.
pub struct Ring {
    ring: IoUring,
    /// By their number; none: the kernel has not taken it.
    results: Vec<Option<i32>>,
    /// It failed, and calls that the kernel never took are still in it.
    broken: bool,
}

/// Something to be written.
#[derive(Debug)]
pub struct Write<'a> {
    /// To this socket.
    pub socket: BorrowedFd<'a>,
    /// As much of this as there is room for.
    pub bytes: &'a [u8],
    /// A segment that is not full waits for what follows: an end of stream.
    pub more: bool,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    /// Calls that are made at once, at most.
    pub const ROOM: usize = 64;

    /// Fails where the kernel has none, has one that cannot write (before Linux 5.6), or does not permit it
    /// (`kernel.io_uring_disabled`, a seccomp filter).
    pub fn new() -> io::Result<Self> {
        let ring = IoUring::new(Self::ROOM as u32)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Send::CODE) || !probe.is_supported(opcode::Close::CODE) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { ring, results: Vec::with_capacity(Self::ROOM), broken: false })
    }

    /// Writes to each socket, without waiting, as far as there is room in the ring. What came of each write is what
    /// [`Ring::result`] says of its number. An error is about the ring, which takes
    /// no more calls then.
    pub fn send<'a>(&mut self, writes: impl Iterator<Item = Write<'a>>) -> io::Result<()> {
        // Each is complete when this returns, as if it were send(2): MSG_DONTWAIT says that it is not to be tried again.
        let entries = writes.map(|write| {
            let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | if write.more { libc::MSG_MORE } else { 0 };
            let length = u32::try_from(write.bytes.len()).unwrap_or(u32::MAX);
            opcode::Send::new(types::Fd(write.socket.as_raw_fd()), write.bytes.as_ptr(), length).flags(flags).build()
        });
        // SAFETY: the sockets and the bytes are borrowed until this function returns.
        unsafe { self.make(entries) }
    }

    /// Closes all of them.
    pub fn close(&mut self, sockets: &mut Vec<OwnedFd>) -> io::Result<()> {
        while !sockets.is_empty() {
            let count = sockets.len().min(Self::ROOM);
            let entries =
                sockets[..count].iter().map(|socket| opcode::Close::new(types::Fd(socket.as_raw_fd())).build());
            // SAFETY: the descriptors are owned here, and given up below where the kernel has closed them.
            let made = unsafe { self.make(entries) };
            for (index, socket) in sockets.drain(..count).enumerate() {
                if self.result(index).is_ok() {
                    let _closed = socket.into_raw_fd();
                }
            }
            made?;
        }
        Ok(())
    }

    /// What came of a call; `Interrupted` if it was not made.
    pub fn result(&self, index: usize) -> io::Result<usize> {
        let result = self.results.get(index).copied().flatten().ok_or(io::ErrorKind::Interrupted)?;
        usize::try_from(result).map_err(|_negative| io::Error::from_raw_os_error(-result))
    }

    /// Has the kernel make these calls, as many as there is room for, and returns when it has made all that it took.
    ///
    /// # Safety
    ///
    /// The addresses and descriptors in the entries must be valid until this returns.
    unsafe fn make(&mut self, entries: impl Iterator<Item = squeue::Entry>) -> io::Result<()> {
        self.results.clear();
        if self.broken {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut queue = self.ring.submission();
        for (entry, number) in entries.zip(0..Self::ROOM) {
            // SAFETY: valid for as long as the caller promises, which is until all that the kernel takes are complete.
            if unsafe { queue.push(&entry.user_data(number as u64)) }.is_err() {
                // What is in the queue is made below: nothing may stay in it for longer than it is valid.
                break;
            }
            self.results.push(None);
        }
        drop(queue);
        let count = self.results.len();
        let mut made = 0;
        while made < count {
            let entered = self.ring.submit_and_wait(count - made);
            for completion in self.ring.completion() {
                let number = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
                if let Some(result) = self.results.get_mut(number) {
                    *result = Some(completion.result());
                    made += 1;
                }
            }
            let taken = count - self.ring.submission().len();
            if let Err(error) = entered
                && error.kind() != io::ErrorKind::Interrupted
                && made == taken
            {
                self.broken = true;
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pairs(count: usize) -> Vec<(UnixStream, UnixStream)> {
        (0..count).map(|_| UnixStream::pair().unwrap()).collect()
    }

    #[test]
    fn each_socket_gets_its_own_bytes() {
        let (mut ring, pairs) = (Ring::new().unwrap(), pairs(Ring::ROOM));
        for round in 0..3_u8 {
            let texts: Vec<_> = (0..Ring::ROOM).map(|number| vec![number as u8 ^ round; number + 1]).collect();
            let writes = pairs.iter().zip(&texts);
            ring.send(writes.map(|((near, _), bytes)| Write { socket: near.as_fd(), bytes, more: false })).unwrap();
            for (number, ((_, far), text)) in pairs.iter().zip(&texts).enumerate() {
                let mut got = vec![0; text.len()];
                (&*far).read_exact(&mut got).unwrap();
                assert_eq!((ring.result(number).unwrap(), &got), (text.len(), text));
            }
        }
    }

    #[test]
    fn what_has_no_room_and_what_has_no_reader_is_told() {
        let (mut ring, pairs) = (Ring::new().unwrap(), pairs(3));
        let (full, gone, open) = (&pairs[0].0, UnixStream::pair().unwrap().0, &pairs[1].0);
        full.set_nonblocking(true).unwrap();
        while (&*full).write(&[0; 4096]).is_ok() {}
        let writes = [full, &gone, open].map(|socket| Write { socket: socket.as_fd(), bytes: b"word", more: false });
        ring.send(writes.into_iter()).unwrap();
        assert_eq!(ring.result(0).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(ring.result(1).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(ring.result(2).unwrap(), 4);
        assert_eq!(ring.result(3).unwrap_err().kind(), io::ErrorKind::Interrupted, "nothing was asked");
    }

    #[test]
    fn more_than_there_is_room_for_is_left_over() {
        let (mut ring, pairs) = (Ring::new().unwrap(), pairs(Ring::ROOM + 1));
        let writes = pairs.iter().map(|(near, _)| Write { socket: near.as_fd(), bytes: b"x", more: false });
        ring.send(writes).unwrap();
        assert_eq!(ring.result(Ring::ROOM - 1).unwrap(), 1);
        assert_eq!(ring.result(Ring::ROOM).unwrap_err().kind(), io::ErrorKind::Interrupted);
    }

    #[test]
    fn any_number_of_sockets_is_closed() {
        let mut ring = Ring::new().unwrap();
        let (mut near, far): (Vec<OwnedFd>, Vec<_>) =
            pairs(2 * Ring::ROOM + 1).into_iter().map(|(near, far)| (near.into(), far)).unzip();
        ring.close(&mut near).unwrap();
        assert!(near.is_empty());
        for mut end in far {
            assert_eq!(end.read(&mut [0]).unwrap(), 0);
        }
    }
}
