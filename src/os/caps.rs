//! The capabilities that the daemon works with, and giving up the others (capabilities(7)).

#![expect(unsafe_code, reason = "capset and prctl have no safe interface")]

use std::fs;
use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Bind ports below 1024.
const NET_BIND_SERVICE: u32 = 10;
/// Addresses, links, routes, sysctls below /proc/sys/net.
const NET_ADMIN: u32 = 12;
/// Raw and packet sockets.
const NET_RAW: u32 = 13;
/// Lock memory; not needed where RLIMIT_MEMLOCK could be raised.
const IPC_LOCK: u32 = 14;
/// Schedule in real time; not needed where RLIMIT_RTPRIO could be raised.
const SYS_NICE: u32 = 23;
/// What the daemon always keeps.
const KEPT: u64 = 1 << NET_BIND_SERVICE | 1 << NET_ADMIN | 1 << NET_RAW;
/// `_LINUX_CAPABILITY_VERSION_3`: masks of 64 bits, in two halves.
const VERSION: u32 = 0x2008_0522;
/// Highest real-time priority a thread may ask for; the lowest, 1, is what is used.
const REALTIME_PRIORITY: u64 = 1;
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// What could not be given up or asked for in advance; the process goes on all the same.
#[derive(Debug, thiserror::Error)]
#[error("{wish}: {cause}")]
pub struct Denied {
    wish: &'static str,
    cause: io::Error,
}

/// Keeps CAP_NET_RAW, CAP_NET_ADMIN and CAP_NET_BIND_SERVICE, as far as the process has them, and gives up every other
/// capability for good: in the calling thread, the threads it starts and the programs they execute. Before that it
/// raises the limits that make the others unnecessary, of real-time priority and of locked memory; one that cannot be
/// raised (in a container without CAP_SYS_RESOURCE) leaves CAP_SYS_NICE or CAP_IPC_LOCK, for to be on time goes first.
/// Programs started later may still ask the out-of-memory killer for mercy.
///
/// Call it before other threads exist: capabilities are a thread's own. What is not permitted is returned.
pub fn confine() -> Vec<Denied> {
    let mut denied = Vec::new();
    let mut note = |wish, result: io::Result<()>| {
        let done = result.is_ok();
        denied.extend(result.err().map(|cause| Denied { wish, cause }));
        done
    };
    let mut kept = KEPT;
    if !note("raise the limit of real-time priority", raise(Resource::RLIMIT_RTPRIO, REALTIME_PRIORITY)) {
        kept |= 1 << SYS_NICE;
    }
    if !note("raise the limit of locked memory", raise(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY)) {
        kept |= 1 << IPC_LOCK;
    }
    let score = fs::read_to_string(OOM_SCORE);
    // The lowest score that was ever set with privileges may be set again without.
    note("reserve the lowest out-of-memory score", fs::write(OOM_SCORE, "-1000"));
    note("narrow the capability bounding set", drop_bounding(kept));
    note("give up capabilities", drop_own(kept));
    note("pass capabilities on", raise_ambient(kept));
    note("restore the out-of-memory score", score.and_then(|score| fs::write(OOM_SCORE, score)));
    denied
}

/// The capabilities that a process started from here can ever get, as a mask; none: the system does not tell.
#[must_use]
pub fn bounding() -> Option<u64> {
    let status = fs::read_to_string("/proc/thread-self/status").ok()?;
    field(&status, "CapBnd:")
}

fn field(status: &str, name: &str) -> Option<u64> {
    let text = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(text.trim(), 16).ok()
}

/// At least this much, hard limit included where it is lower.
fn raise(resource: Resource, least: u64) -> io::Result<()> {
    let (soft, hard) = getrlimit(resource)?;
    if soft < least {
        setrlimit(resource, least, hard.max(least))?;
    }
    Ok(())
}

/// Needs CAP_SETPCAP; whoever lacks it cannot use the set either.
fn drop_bounding(kept: u64) -> io::Result<()> {
    for capability in capabilities(!kept) {
        // SAFETY: no pointer is passed.
        match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) } {
            0 => {}
            _ => match io::Error::last_os_error() {
                // The kernel knows no capability of this number, and none above.
                error if error.raw_os_error() == Some(libc::EINVAL) => return Ok(()),
                error => return Err(error),
            },
        }
    }
    Ok(())
}

fn capabilities(mask: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS).filter(move |capability| mask & 1 << capability != 0)
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Those kept become inheritable too: the ambient set asks for it.
fn drop_own(kept: u64) -> io::Result<()> {
    let mut header = Header { version: VERSION, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: both are of the layout of version 3 and outlive the call.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    if read < 0 {
        return Err(io::Error::last_os_error());
    }
    let masks = [kept as u32, (kept >> u32::BITS) as u32];
    for (half, mask) in halves.iter_mut().zip(masks) {
        half.permitted &= mask;
        half.effective = half.permitted;
        half.inheritable = half.permitted;
    }
    // SAFETY: as above; the kernel only reads.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// For programs started by another user than root: root's get what the bounding set has.
fn raise_ambient(kept: u64) -> io::Result<()> {
    let (all, raise) = (libc::PR_CAP_AMBIENT_CLEAR_ALL, libc::PR_CAP_AMBIENT_RAISE);
    // SAFETY: no pointer is passed.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, all, 0, 0, 0) };
    let mut result = Ok(());
    for capability in capabilities(kept) {
        // SAFETY: no pointer is passed.
        let raised = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(capability), 0, 0) };
        // One that the process does not have keeps no other from being passed on.
        if raised < 0 {
            result = Err(io::Error::last_os_error());
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_as_the_kernel_prints_them() {
        let status = "CapPrm:\t000001ffffffffff\nCapBnd:\t0000000000003400\nCapAmb:\t0000000000000000\n";
        assert_eq!(field(status, "CapBnd:"), Some(KEPT));
        assert_eq!(field(status, "CapInh:"), None);
        assert!(bounding().is_some());
    }
}
