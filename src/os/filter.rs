//! Classic BPF: small programs by which the kernel keeps away what a socket does not want.

#![expect(unsafe_code, reason = "SO_ATTACH_FILTER has no safe interface")]

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::ptr;

/// Where the Ethernet header begins, for sockets whose packets begin with another one (SKF_LL_OFF).
const ETHERNET: u32 = (-0x20_0000_i32).cast_unsigned();

/// Accepts what comes from this Ethernet address, on any kind of socket.
pub(super) const fn from(address: [u8; 6]) -> [libc::sock_filter; 6] {
    let [a, b, c, d, e, f] = address;
    [
        load_word(ETHERNET + 6),
        jump_if(u32::from_be_bytes([a, b, c, d]), 0, 3),
        load_half(ETHERNET + 10),
        jump_if(u32::from_be_bytes([0, 0, e, f]), 0, 1),
        accept(u32::MAX),
        accept(0),
    ]
}

const fn load_word(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

pub(super) const fn load_half(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

pub(super) const fn load_byte(offset: u32) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

pub(super) const fn jump_if(value: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt, jf, k: value }
}

pub(super) const fn accept(bytes: u32) -> libc::sock_filter {
    libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: bytes }
}

/// Has the kernel keep away from `socket` what `filter` does not accept.
pub(super) fn attach(socket: &impl AsRawFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which is valid for its length, and does not write to it.
    let attached = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            ptr::from_ref(&program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if attached < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
