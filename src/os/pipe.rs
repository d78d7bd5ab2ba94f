//! Pipes that bytes are spliced through, from socket to socket without coming to user space (splice(2)).

#![expect(unsafe_code, reason = "splice has no safe interface in use here")]

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// Bytes a pipe holds, so also the most that the kernel keeps for a reader that is slow.
pub const CAPACITY: usize = 256 * 1024;

/// An empty pipe, or one with the bytes that were put in and not taken out yet.
#[derive(Debug)]
pub struct Pipe {
    reader: PipeReader,
    writer: PipeWriter,
}

impl Pipe {
    /// A new one. Fails for want of descriptors, or when the user has so many that the kernel grants no more memory for them.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let size = i32::try_from(CAPACITY).unwrap_or(i32::MAX);
        // SAFETY: no pointer is passed.
        let set = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { reader, writer }) }
    }

    /// Moves what `from` has into the pipe, at most its capacity; the pipe is empty. 0: the stream has ended.
    pub fn fill(&self, from: &impl AsFd) -> io::Result<usize> {
        splice(from, &self.writer, CAPACITY, false)
    }

    /// Moves up to `most` bytes that are in the pipe to `to`; with `more`, a segment that is not full waits for what follows.
    pub fn empty(&self, to: &impl AsFd, most: usize, more: bool) -> io::Result<usize> {
        splice(&self.reader, to, most, more)
    }

    /// Takes `count` bytes that are in the pipe out of it.
    #[must_use]
    pub fn take(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        match (&self.reader).read_exact(&mut bytes) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }
}

/// Does not wait for either.
fn splice(from: &impl AsFd, to: &impl AsFd, most: usize, more: bool) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | if more { libc::SPLICE_F_MORE } else { 0 };
    let (from, to) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    // SAFETY: both descriptors are borrowed for the call; no offset is passed.
    let moved = unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), most, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}
