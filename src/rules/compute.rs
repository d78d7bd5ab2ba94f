//! What converters make of numbers and bytes, by HAProxy's rules.

use data_encoding::{BASE64, HEXUPPER};

use crate::model::expression::{Alteration, Digest, Encoding, Operation};

/// One number of two.
pub(super) fn compute(operation: Operation, first: i64, second: i64) -> i64 {
    match operation {
        Operation::Add => first.saturating_add(second),
        Operation::Subtract => first.saturating_sub(second),
        Operation::Multiply => first.saturating_mul(second),
        Operation::Divide if second == 0 => i64::MAX,
        Operation::Divide => first.saturating_div(second),
        // By 0 there is no remainder, and by -1 none either.
        Operation::Remainder => first.checked_rem(second).unwrap_or(0),
        Operation::And => first & second,
        Operation::Or => first | second,
        Operation::Xor => first ^ second,
    }
}

/// One number of one.
pub(super) fn alter(alteration: Alteration, number: i64) -> i64 {
    match alteration {
        Alteration::Bool => i64::from(number != 0),
        Alteration::Not => i64::from(number == 0),
        Alteration::Negative => number.wrapping_neg(),
        Alteration::Complement => !number,
        Alteration::Even => i64::from(number & 1 == 0),
        Alteration::Odd => number & 1,
    }
}

/// The hash of some bytes.
pub(super) fn digest(digest: Digest, bytes: &[u8]) -> u32 {
    match digest {
        Digest::Crc32 => !bytes.iter().fold(!0, |crc, byte| crc32_step(crc ^ u32::from(*byte))),
        Digest::Djb2 => bytes.iter().fold(5381_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add((*byte).into())),
        Digest::Sdbm => bytes.iter().fold(0_u32, |hash, byte| hash.wrapping_mul(65_599).wrapping_add((*byte).into())),
    }
}

/// The polynomial of IEEE 802.3, lowest bit first.
fn crc32_step(crc: u32) -> u32 {
    (0..8).fold(crc, |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
}

/// Bytes as text.
pub(super) fn encode(encoding: Encoding, bytes: &[u8]) -> String {
    match encoding {
        Encoding::Hex => HEXUPPER.encode(bytes),
        Encoding::Base64 => BASE64.encode(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_within_their_bounds() {
        use Operation::*;
        let cases = [
            (Add, 2, 3, 5),
            (Add, i64::MAX, 1, i64::MAX),
            (Subtract, i64::MIN, 1, i64::MIN),
            (Multiply, i64::MAX, -2, i64::MIN),
            (Divide, 7, -2, -3),
            (Divide, 7, 0, i64::MAX),
            (Divide, -7, 0, i64::MAX),
            (Divide, i64::MIN, -1, i64::MAX),
            (Remainder, 7, 3, 1),
            (Remainder, 7, 0, 0),
            (Remainder, i64::MIN, -1, 0),
            (And, 6, 3, 2),
            (Or, 6, 3, 7),
            (Xor, 6, 3, 5),
        ];
        for (operation, first, second, expected) in cases {
            assert_eq!(compute(operation, first, second), expected, "{operation:?} {first} {second}");
        }
        let altered = |number| {
            use Alteration::*;
            [Bool, Not, Negative, Complement, Even, Odd].map(|alteration| alter(alteration, number))
        };
        assert_eq!((altered(0), altered(-3)), ([0, 1, 0, -1, 1, 0], [1, 0, 3, 2, 0, 1]));
        assert_eq!(alter(Alteration::Negative, i64::MIN), i64::MIN);
    }

    /// The check values that catalogues of such hashes have for these digits.
    #[test]
    fn bytes_become_numbers_and_texts() {
        assert_eq!(digest(Digest::Crc32, b"123456789"), 0xcbf4_3926);
        assert_eq!((digest(Digest::Djb2, b""), digest(Digest::Djb2, b"a")), (5381, 177_670));
        assert_eq!((digest(Digest::Sdbm, b""), digest(Digest::Sdbm, b"ab")), (0, 97 * 65_599 + 98));
        assert_eq!(
            (encode(Encoding::Hex, &[127, 0, 0, 1]), encode(Encoding::Base64, b"abcd")),
            ("7F000001".into(), "YWJjZA==".into())
        );
    }
}
