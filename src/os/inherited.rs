//! Descriptors that the process was started with: listening sockets of systemd, or of a parent that opened them.

#![expect(unsafe_code, reason = "a descriptor's number is all that is known of it")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{Socket, Type};

use crate::model::Descriptor;

static INHERITED: OnceLock<BTreeSet<i32>> = OnceLock::new();

/// Notes which descriptors there are, and keeps them from the programs that this one executes. Call it first of all: what is
/// opened later is not inherited.
pub fn note() {
    let listed = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<i32> =
        listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|number| *number > 2).collect();
    // The listing's own descriptor is closed by now.
    let open = |number: &i32| keep_to_ourselves(*number).is_ok();
    let _noted_before = INHERITED.set(numbers.into_iter().filter(open).collect());
}

fn keep_to_ourselves(number: i32) -> io::Result<()> {
    // SAFETY: nothing is assumed of the descriptor: one that is closed gives EBADF.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(drop).map_err(io::Error::from)
}

/// A copy of a stream socket that the process was started with, which stays for the next time.
///
/// # Errors
/// There was none, or it is something else.
pub fn socket(descriptor: &Descriptor) -> io::Result<Socket> {
    let missing = |text: String| io::Error::new(io::ErrorKind::NotFound, text);
    let number = match descriptor {
        Descriptor::Number(number) => *number,
        Descriptor::Variable(name) => {
            let value = std::env::var(name).ok().and_then(|value| value.trim().parse().ok());
            value.ok_or_else(|| missing(format!("the variable {name} holds no number")))?
        }
    };
    if !INHERITED.get().is_some_and(|inherited| inherited.contains(&number)) {
        return Err(missing(format!("the process was not started with a descriptor {number}")));
    }
    // SAFETY: it was open at the start, and nothing in this process closes what it was started with.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let socket = Socket::from(descriptor.try_clone_to_owned()?);
    if socket.r#type()? != Type::STREAM {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("the descriptor {number} is no stream socket"),
        ));
    }
    Ok(socket)
}
