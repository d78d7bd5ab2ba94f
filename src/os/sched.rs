//! How a thread that must be on time asks the kernel for it. Each of these is a wish: what is not permitted is told
//! to the caller, who goes on without.

#![expect(unsafe_code, reason = "scheduling, memory locks and clocks are libc calls")]

use std::fs;
use std::io;
use std::mem::zeroed;
use std::ptr;
use std::time::Duration;

/// Stack below the caller's frame that is locked, in bytes: far more than a turn of a loop needs.
const STACK: usize = 128 * 1024;
const PAGE: usize = 4096;

/// Puts the calling thread into SCHED_RR at the lowest real-time priority, above every ordinary one. Threads and
/// processes it starts are ordinary again. Needs CAP_SYS_NICE or an RLIMIT_RTPRIO.
pub fn round_robin() -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let lowest = unsafe { libc::sched_get_priority_min(libc::SCHED_RR) };
    let parameters = libc::sched_param { sched_priority: lowest };
    // SAFETY: the parameters outlive the call.
    let done =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Timers of the calling thread fire as exactly as the hardware can, not up to 50 µs later.
pub fn exact_timers() -> io::Result<()> {
    // SAFETY: no pointer is passed.
    let done = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Keeps the program's text and the calling thread's stack in memory once they have been used, so that a machine that
/// swaps does not make it late. Nothing else is locked: memory of the data plane stays as it is. Needs CAP_IPC_LOCK
/// or room in RLIMIT_MEMLOCK.
pub fn lock_text_and_stack() -> io::Result<()> {
    let here = 0_u8;
    let top = ptr::from_ref(&here).addr();
    lock((top - STACK) & !(PAGE - 1), STACK, 0)?;
    for (start, length) in text_mappings(&fs::read_to_string("/proc/self/maps")?) {
        lock(start, length, libc::MLOCK_ONFAULT)?;
    }
    Ok(())
}

/// How long this machine was suspended since it was started: what CLOCK_MONOTONIC does not count.
#[must_use]
pub fn suspended() -> Duration {
    clock(libc::CLOCK_BOOTTIME).saturating_sub(clock(libc::CLOCK_MONOTONIC))
}

fn clock(id: libc::clockid_t) -> Duration {
    // SAFETY: timespec is plain integers; all zeros is a value of it.
    let mut now: libc::timespec = unsafe { zeroed() };
    // SAFETY: `now` outlives the call.
    unsafe { libc::clock_gettime(id, &raw mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn lock(start: usize, length: usize, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: locking changes no memory; a range that is not mapped is an error.
    let done = unsafe { libc::syscall(libc::SYS_mlock2, start, length, flags) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The executable file mappings of a table in the format of /proc/PID/maps, as (start, length).
fn text_mappings(maps: &str) -> Vec<(usize, usize)> {
    maps.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (start, end) = fields.next()?.split_once('-')?;
            let rights = fields.next()?;
            let file = fields.nth(3)?;
            let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
            (rights.starts_with("r-x") && file.starts_with('/')).then_some((start, end - start))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_files_is_locked() {
        let maps = "5580-5590 r--p 00000000 fe:00 1 /usr/bin/vipgate\n\
                    5590-55a0 r-xp 00010000 fe:00 1 /usr/bin/vipgate\n\
                    7000-7100 rw-p 00000000 00:00 0 [heap]\n\
                    7ff0-7ff2 r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(text_mappings(maps), [(0x5590, 0x10)]);
    }

    #[test]
    fn wishes_do_not_harm() {
        std::thread::spawn(|| {
            exact_timers().unwrap();
            let _ = lock_text_and_stack();
            let _ = round_robin();
        })
        .join()
        .unwrap();
        assert!(suspended() < Duration::from_secs(365 * 86_400));
    }
}
