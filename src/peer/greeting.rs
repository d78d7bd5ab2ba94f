//! The words of a session. The side that is followed speaks, one line each: a greeting, then nothing for as long as it
//! lives, then, if it ends in order, a goodbye.

/// Bytes of the longest line that is looked at.
pub(super) const LONGEST_LINE: usize = 128;
/// Says that the end that follows is in order.
pub(super) const GOODBYE: &str = "goodbye\n";
/// Says that there are sessions enough: nothing is known of this one's future.
pub(super) const BUSY: &str = "busy\n";

const MAGIC: &str = "vipgate-peer";
/// Version of these words.
const VERSION: &str = "1";

/// One life of one process: a number drawn at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Instance(pub(super) u64);

/// A line from the side that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// It is this process.
    Greeting(Instance),
    /// It ends in order.
    Goodbye,
    /// Something else; a later version may say more.
    Other,
}

/// The greeting of a process. The program's version is for people with a packet capture.
pub(super) fn greet(instance: Instance) -> String {
    format!("{MAGIC} {VERSION} {:016x} {}\n", instance.0, env!("CARGO_PKG_VERSION"))
}

/// The meaning of a line, its end included or not.
pub(super) fn parse(line: &[u8]) -> Line {
    let Ok(text) = std::str::from_utf8(line) else { return Line::Other };
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("goodbye"), None, None) => Line::Goodbye,
        (Some(MAGIC), Some(VERSION), Some(instance)) => {
            u64::from_str_radix(instance, 16).map_or(Line::Other, |number| Line::Greeting(Instance(number)))
        }
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for instance in [Instance(0), Instance(0x0123_4567_89ab_cdef), Instance(u64::MAX)] {
            assert_eq!(parse(greet(instance).as_bytes()), Line::Greeting(instance));
            assert!(greet(instance).len() <= LONGEST_LINE);
        }
        assert_eq!(parse(GOODBYE.as_bytes()), Line::Goodbye);
        assert_eq!(parse(BUSY.as_bytes()), Line::Other);
    }

    #[test]
    fn other_services_are_not_taken_for_a_peer() {
        let others: [&[u8]; 6] = [
            b"",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"vipgate-peer 2 00",
            b"vipgate-peer 1",
            b"vipgate-peer 1 xyz 1",
            &[0xff],
        ];
        assert!(others.iter().all(|line| parse(line) == Line::Other));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
