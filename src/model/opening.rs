//! The beginnings of what TLS resumes sessions by.

use std::ops::Deref;

/// The first bytes of a ticket, at least one and 32 at most: more than the name of any server's key, and enough to tell
/// tickets apart. Of a session id, which is no longer, all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opening {
    /// Zeros follow the beginning.
    bytes: [u8; Opening::LONGEST],
    len: u8,
}

impl Opening {
    /// The most bytes that it has.
    pub const LONGEST: usize = 32;
    /// The most bytes of a ticket that are taken for the name of the key that sealed it.
    pub const LONGEST_NAME: usize = 16;
    /// The fewest: what is shorter is taken for chance.
    pub const SHORTEST_NAME: usize = 4;

    /// The beginning of these bytes; none of nothing.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let kept = bytes.get(..Self::LONGEST).unwrap_or(bytes);
        let mut opening = [0; Self::LONGEST];
        opening.iter_mut().zip(kept).for_each(|(place, byte)| *place = *byte);
        Some(Self { bytes: opening, len: u8::try_from(kept.len()).ok()? }).filter(|opening| opening.len > 0)
    }

    /// The length of the name that both begin with; 0 when it is none.
    #[must_use]
    pub fn common(&self, other: &Self) -> usize {
        const { assert!(Self::LONGEST_NAME == size_of::<u128>()) };
        let head = |opening: &Self| opening.bytes.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
        let equal = (head(self) ^ head(other)).leading_zeros() as usize / 8;
        let same = equal.min(self.len()).min(other.len());
        if same < Self::SHORTEST_NAME { 0 } else { same }
    }

    /// Its bytes, and zeros up to the full length.
    #[must_use]
    pub fn padded(&self) -> &[u8; Self::LONGEST] {
        &self.bytes
    }
}

impl Deref for Opening {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_beginning() {
        assert_eq!(Opening::of(&[]), None);
        assert_eq!(Opening::of(&[7]).as_deref(), Some(&[7][..]));
        let long: Vec<u8> = (0..40).collect();
        assert_eq!(Opening::of(&long).as_deref(), long.get(..32));
        assert_eq!(Opening::of(&long).unwrap().common(&Opening::of(&long[..9]).unwrap()), 9);
        assert_eq!(Opening::of(&[7]).unwrap().padded().iter().map(|byte| u32::from(*byte)).sum::<u32>(), 7);
    }
}
