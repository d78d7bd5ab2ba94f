//! bpf(2): maps, a program of type sk_lookup, and its attachment to this thread's network namespace.

#![expect(unsafe_code, reason = "bpf(2) has no safe interface")]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

// Commands, types and flags of include/uapi/linux/bpf.h.
const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const PROG_LOAD: libc::c_int = 5;
const LINK_CREATE: libc::c_int = 28;
const TYPE_HASH: u32 = 1;
const TYPE_ARRAY: u32 = 2;
const TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;
const NO_PREALLOC: u32 = 1;
const MMAPABLE: u32 = 1 << 10;

/// The part of `union bpf_attr` that the commands used here know; the kernel takes what is beyond for zero.
const ATTRIBUTES: usize = 128;

/// A map.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    /// Bytes of a key and of a value.
    sizes: (usize, usize),
}

/// An array of `u64`, which this process writes without system calls, and without a descriptor.
#[derive(Debug)]
pub struct Array {
    entries: NonNull<AtomicU64>,
    length: usize,
}

// SAFETY: `entries` points to shared memory that is only accessed through atomics and lives as long as the value.
unsafe impl Send for Array {}
// SAFETY: as above.
unsafe impl Sync for Array {}

/// A program that is loaded.
#[derive(Debug)]
pub struct Program(OwnedFd);

/// A program that is attached, for as long as this lives.
#[derive(Debug)]
pub struct Link {
    _fd: OwnedFd,
}

impl Map {
    /// A hash table with keys and values of so many bytes.
    pub fn hash(key: u32, value: u32, most: u32) -> io::Result<Self> {
        Self::create(TYPE_HASH, key, value, most, NO_PREALLOC)
    }

    /// Sockets, by number.
    pub fn sockets(most: u32) -> io::Result<Self> {
        Self::create(TYPE_SOCKMAP, 4, 8, most, 0)
    }

    fn create(kind: u32, key: u32, value: u32, most: u32, flags: u32) -> io::Result<Self> {
        let mut attributes = Attributes::default();
        attributes.put(0, &kind.to_ne_bytes());
        attributes.put(4, &key.to_ne_bytes());
        attributes.put(8, &value.to_ne_bytes());
        attributes.put(12, &most.to_ne_bytes());
        attributes.put(16, &flags.to_ne_bytes());
        // SAFETY: the attributes hold no address.
        let fd = unsafe { attributes.descriptor(MAP_CREATE) }?;
        Ok(Self { fd, sizes: (key as usize, value as usize) })
    }

    /// Its descriptor, as a program names it.
    #[must_use]
    pub fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Sets an entry. Key and value have the lengths that the map was made with; others are refused.
    pub fn set<const KEY: usize, const VALUE: usize>(&self, key: [u8; KEY], value: [u8; VALUE]) -> io::Result<()> {
        if self.sizes != (KEY, VALUE) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attributes = Attributes::default();
        attributes.put(0, &self.descriptor().to_ne_bytes());
        attributes.put(8, &(key.as_ptr() as u64).to_ne_bytes());
        attributes.put(16, &(value.as_ptr() as u64).to_ne_bytes());
        // SAFETY: both addresses are of arrays that live until the call has returned, which the kernel only reads, and which
        // have the lengths that it knows of.
        unsafe { attributes.call(MAP_UPDATE_ELEM) }.map(drop)
    }

    /// Removes an entry, if it is there.
    pub fn remove<const KEY: usize>(&self, key: [u8; KEY]) -> io::Result<()> {
        if self.sizes.0 != KEY {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attributes = Attributes::default();
        attributes.put(0, &self.descriptor().to_ne_bytes());
        attributes.put(8, &(key.as_ptr() as u64).to_ne_bytes());
        // SAFETY: as for `set`.
        match unsafe { attributes.call(MAP_DELETE_ELEM) } {
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Array {
    /// One of `length` zeros, and the map by which a program names it: of no use once that is loaded.
    pub fn new(length: u32) -> io::Result<(Self, Map)> {
        let map = Map::create(TYPE_ARRAY, 4, 8, length, MMAPABLE)?;
        let length = length as usize;
        let bytes = NonZeroUsize::new(length * size_of::<u64>()).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let entries = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, &map.fd, 0) }?;
        Ok((Self { entries: entries.cast(), length }, map))
    }

    /// Its entries, which the program sees as soon as they are written.
    fn entries(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has `length` aligned values of 8 bytes, lives as long as `self`, and atomics may change under
        // a shared reference.
        unsafe { std::slice::from_raw_parts(self.entries.as_ptr(), self.length) }
    }

    /// Sets entry `index`; one that does not exist is ignored.
    pub fn set(&self, index: usize, value: u64) {
        if let Some(entry) = self.entries().get(index) {
            entry.store(value, Ordering::Release);
        }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, of this length, to which no reference is left.
        let _unmapped = unsafe { munmap(self.entries.cast(), self.length * size_of::<u64>()) };
    }
}

impl Program {
    /// Loads a program of type sk_lookup: instructions of 8 bytes. Needs CAP_BPF and CAP_NET_ADMIN.
    pub fn load(instructions: &[u8]) -> io::Result<Self> {
        let licence = c"Dual MIT/GPL";
        let mut attributes = Attributes::default();
        attributes.put(0, &PROG_TYPE_SK_LOOKUP.to_ne_bytes());
        attributes.put(4, &((instructions.len() / 8) as u32).to_ne_bytes());
        attributes.put(8, &(instructions.as_ptr() as u64).to_ne_bytes());
        attributes.put(16, &(licence.as_ptr() as u64).to_ne_bytes());
        attributes.put(48, b"vipgate_ports\0");
        attributes.put(68, &ATTACH_SK_LOOKUP.to_ne_bytes());
        // SAFETY: the addresses are of a slice of the length that is given and of a text that ends with 0; both live
        // until the call has returned, and the kernel copies them.
        unsafe { attributes.descriptor(PROG_LOAD) }.map(Self)
    }

    /// Attaches it to this thread's network namespace, after those that are there.
    pub fn attach(&self) -> io::Result<Link> {
        let namespace = File::open("/proc/thread-self/ns/net")?;
        let mut attributes = Attributes::default();
        attributes.put(0, &self.0.as_raw_fd().to_ne_bytes());
        attributes.put(4, &namespace.as_raw_fd().to_ne_bytes());
        attributes.put(8, &ATTACH_SK_LOOKUP.to_ne_bytes());
        // SAFETY: the attributes hold no address.
        unsafe { attributes.descriptor(LINK_CREATE) }.map(|fd| Link { _fd: fd })
    }
}

/// `union bpf_attr`.
#[repr(C, align(8))]
struct Attributes([u8; ATTRIBUTES]);

impl Default for Attributes {
    fn default() -> Self {
        Self([0; ATTRIBUTES])
    }
}

impl Attributes {
    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// # Safety
    /// Every address in the attributes must be good for what the command does with it.
    unsafe fn call(&self, command: libc::c_int) -> io::Result<libc::c_long> {
        // SAFETY: the attributes are as long as is told; what they point to is good, says the caller.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, self.0.as_ptr(), ATTRIBUTES) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    /// # Safety
    /// As for [`Attributes::call`]; the command must return a descriptor.
    unsafe fn descriptor(&self, command: libc::c_int) -> io::Result<OwnedFd> {
        // SAFETY: as the caller says.
        let fd = unsafe { self.call(command) }?;
        // SAFETY: the kernel has just opened it, and nobody else knows it. It is closed on exec, as all of bpf's are.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
    }
}

/// Returns when no program runs any more that began before (membarrier(2): a grace period of RCU, some milliseconds). Where the
/// kernel has none to offer, at once.
pub fn wait_for_programs() {
    const GLOBAL: libc::c_int = 1;
    // SAFETY: takes numbers only.
    let _refused = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
}
