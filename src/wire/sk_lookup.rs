//! A BPF program that steers ranges of TCP ports to one listener each (kernel: Documentation/bpf/prog_sk_lookup.rst), and the
//! keys of the maps it reads. As bytes of `struct bpf_insn`; nothing here talks to the kernel.
//!
//! The program looks the client's port up in an array, `ports`: 0, and the kernel goes on by itself; otherwise a number that
//! stands for the addresses that listen on this port. That number and the address are the key of a hash table, `groups`,
//! which tells the place of the listener in a third map, `listeners`. An address that is not there is looked up as the
//! unspecified one. So the cost does not depend on the number of ports.

use std::net::IpAddr;

/// Bytes of a key of `groups`: number, family, address.
pub const GROUP_KEY: usize = 24;

/// The file descriptors of the three maps.
#[derive(Debug, Clone, Copy)]
pub struct Maps {
    /// By port: `u64`, the number of a set of listening addresses, 0 for none.
    pub ports: i32,
    /// By [`group_key`]: `u32`, a place in `listeners`.
    pub groups: i32,
    /// Sockets that listen.
    pub listeners: i32,
}

/// The key of an address in the set of this number. An unspecified address stands for every one of its family.
#[must_use]
pub fn group_key(number: u32, address: IpAddr) -> [u8; GROUP_KEY] {
    let mut key = [0; GROUP_KEY];
    key[..4].copy_from_slice(&number.to_ne_bytes());
    let (family, bytes): (i32, &[u8]) = match &address {
        IpAddr::V4(address) => (libc::AF_INET, &address.octets()),
        IpAddr::V6(address) => (libc::AF_INET6, &address.octets()),
    };
    key[4..8].copy_from_slice(&family.to_ne_bytes());
    key[8..8 + bytes.len()].copy_from_slice(bytes);
    key
}

// Registers.
const R0: u8 = 0;
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const CONTEXT: u8 = 6;
const KEPT: u8 = 7;
const FRAME: u8 = 10;

// Fields of `struct bpf_sk_lookup`.
const FAMILY: i16 = 8;
const PROTOCOL: i16 = 12;
const LOCAL_IP4: i16 = 40;
const LOCAL_IP6: i16 = 44;
const LOCAL_PORT: i16 = 60;

// Places in the frame: one word, and the key of `groups` (number, family, address).
const WORD: i16 = -4;
const KEY: i16 = -32;
const KEY_FAMILY: i16 = KEY + 4;
const KEY_ADDRESS: i16 = KEY + 8;

// Helpers (bpf-helpers(7)).
const MAP_LOOKUP_ELEM: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

const SK_PASS: i32 = 1;

/// Where a jump goes; resolved when the program is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    V4,
    Look,
    Found,
    Pass,
}

/// The program.
#[must_use]
pub fn program(maps: Maps) -> Vec<u8> {
    let mut code = Assembler::default();
    code.copy(CONTEXT, R1);
    code.load32(R2, CONTEXT, PROTOCOL);
    code.jump_unless(R2, libc::IPPROTO_TCP, Label::Pass);

    code.load32(R2, CONTEXT, LOCAL_PORT);
    code.store32(FRAME, WORD, R2);
    code.look_up(maps.ports, WORD);
    code.jump_if(R0, 0, Label::Pass);
    code.load64(KEPT, R0, 0);
    code.jump_if(KEPT, 0, Label::Pass);

    code.store32(FRAME, KEY, KEPT);
    code.load32(R2, CONTEXT, FAMILY);
    code.store32(FRAME, KEY_FAMILY, R2);
    code.clear_address();
    code.jump_if(R2, libc::AF_INET, Label::V4);
    for word in (0..16).step_by(4) {
        code.load32(R3, CONTEXT, LOCAL_IP6 + word);
        code.store32(FRAME, KEY_ADDRESS + word, R3);
    }
    code.jump(Label::Look);
    code.label(Label::V4);
    code.load32(R3, CONTEXT, LOCAL_IP4);
    code.store32(FRAME, KEY_ADDRESS, R3);

    code.label(Label::Look);
    code.look_up(maps.groups, KEY);
    code.jump_unless(R0, 0, Label::Found);
    code.clear_address();
    code.look_up(maps.groups, KEY);
    code.jump_if(R0, 0, Label::Pass);

    code.label(Label::Found);
    code.load32(R2, R0, 0);
    code.store32(FRAME, WORD, R2);
    code.look_up(maps.listeners, WORD);
    code.jump_if(R0, 0, Label::Pass);
    code.copy(KEPT, R0);
    code.copy(R1, CONTEXT);
    code.copy(R2, R0);
    code.set(R3, 0);
    code.call(SK_ASSIGN);
    // The lookup took a reference, which the verifier wants back.
    code.copy(R1, KEPT);
    code.call(SK_RELEASE);

    code.label(Label::Pass);
    code.set(R0, SK_PASS);
    code.exit();
    code.finish()
}

/// Instructions, and what is not known of them yet.
#[derive(Debug, Default)]
struct Assembler {
    /// Opcode, registers (source in the high half), offset, immediate: as `struct bpf_insn`.
    instructions: Vec<(u8, u8, i16, i32)>,
    labels: Vec<(Label, usize)>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn put(&mut self, opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) {
        self.instructions.push((opcode, source << 4 | destination, offset, immediate));
    }

    fn copy(&mut self, to: u8, from: u8) {
        self.put(0xbf, to, from, 0, 0);
    }

    fn set(&mut self, register: u8, value: i32) {
        self.put(0xb7, register, 0, 0, value);
    }

    fn load32(&mut self, to: u8, base: u8, offset: i16) {
        self.put(0x61, to, base, offset, 0);
    }

    fn load64(&mut self, to: u8, base: u8, offset: i16) {
        self.put(0x79, to, base, offset, 0);
    }

    fn store32(&mut self, base: u8, offset: i16, from: u8) {
        self.put(0x63, base, from, offset, 0);
    }

    fn clear_address(&mut self) {
        self.put(0x7a, FRAME, 0, KEY_ADDRESS, 0);
        self.put(0x7a, FRAME, 0, KEY_ADDRESS + 8, 0);
    }

    /// The element of a map (by descriptor) whose key is at this place of the frame: its address in R0, or 0.
    fn look_up(&mut self, map: i32, key: i16) {
        const PSEUDO_MAP_FD: u8 = 1;
        self.put(0x18, R1, PSEUDO_MAP_FD, 0, map);
        self.put(0, 0, 0, 0, 0);
        self.copy(R2, FRAME);
        self.put(0x07, R2, 0, 0, i32::from(key));
        self.call(MAP_LOOKUP_ELEM);
    }

    fn call(&mut self, helper: i32) {
        self.put(0x85, 0, 0, 0, helper);
    }

    fn exit(&mut self) {
        self.put(0x95, 0, 0, 0, 0);
    }

    fn jump(&mut self, label: Label) {
        self.jump_by(0x05, 0, 0, label);
    }

    fn jump_if(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x15, register, value, label);
    }

    fn jump_unless(&mut self, register: u8, value: i32, label: Label) {
        self.jump_by(0x55, register, value, label);
    }

    fn jump_by(&mut self, opcode: u8, register: u8, value: i32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.put(opcode, register, 0, 0, value);
    }

    fn label(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    fn finish(mut self) -> Vec<u8> {
        for (at, label) in self.jumps {
            let target = self.labels.iter().find(|(known, _)| *known == label).map_or(at, |(_, target)| *target);
            // Offsets count from the instruction after the jump; the program is far shorter than an i16.
            self.instructions[at].2 = i16::try_from(target).unwrap_or(i16::MAX) - i16::try_from(at).unwrap_or(0) - 1;
        }
        let mut bytes = Vec::with_capacity(self.instructions.len() * 8);
        for (opcode, registers, offset, immediate) in self.instructions {
            bytes.extend([opcode, registers]);
            bytes.extend(offset.to_ne_bytes());
            bytes.extend(immediate.to_ne_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_lands_inside_the_program() {
        let code = program(Maps { ports: 3, groups: 4, listeners: 5 });
        let instructions: Vec<&[u8]> = code.chunks(8).collect();
        assert!(instructions.len() < 80, "{}", instructions.len());
        let mut jumps = 0;
        for (at, instruction) in instructions.iter().enumerate() {
            if matches!(instruction[0], 0x05 | 0x15 | 0x55) {
                let offset = i16::from_ne_bytes([instruction[2], instruction[3]]);
                let target = at as i64 + 1 + i64::from(offset);
                assert!(offset > 0 && target < instructions.len() as i64, "{at}: {offset}");
                jumps += 1;
            }
        }
        assert_eq!(jumps, 8);
        assert_eq!(instructions.last().unwrap()[0], 0x95);
    }

    #[test]
    fn keys_hold_number_family_and_address() {
        let key = group_key(7, "192.0.2.1".parse().unwrap());
        assert_eq!(key[..4], 7_u32.to_ne_bytes());
        assert_eq!(key[8..], [192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_ne!(group_key(7, "::".parse().unwrap())[4..8], key[4..8]);
    }
}
