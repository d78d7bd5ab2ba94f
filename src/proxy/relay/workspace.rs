//! What the connections of a thread share: room to read into, and pipes.

use std::ops::Range;

use super::splice::Pipes;

/// A read of this size is a big one.
const BIG: usize = 16 * 1024;

/// A scratch buffer, which is one step's, but for what is to be written at the end of the turn; and pipes.
#[derive(Debug)]
pub struct Workspace<P> {
    scratch: Box<[u8]>,
    /// What the shell is to write, at the buffer's beginning.
    deferred: usize,
    defers: bool,
    pub(super) pipes: Pipes<P>,
}

impl<P> Workspace<P> {
    /// With a scratch buffer of `size` bytes.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { scratch: vec![0; size].into(), deferred: 0, defers: false, pipes: Pipes::default() }
    }

    /// Room to read into, whose content nobody needs afterwards: half of the buffer at least.
    pub fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch[self.deferred..]
    }

    /// From now on the shell writes for many at once, or does not.
    pub fn set_defers(&mut self, defers: bool) {
        self.defers = defers;
    }

    /// What the shell is to write.
    #[must_use]
    pub fn deferred(&self, range: Range<usize>) -> &[u8] {
        &self.scratch[range]
    }

    /// All of it was written.
    pub fn forget_deferred(&mut self) {
        self.deferred = 0;
    }

    /// Leaves the first `count` bytes of the room to the shell, where it writes for many at once and there is room for more.
    pub(super) fn defer(&mut self, count: usize) -> Option<Range<usize>> {
        let range = self.deferred..self.deferred + count;
        if !self.defers || range.end > self.scratch.len() / 2 {
            return None;
        }
        self.deferred = range.end;
        Some(range)
    }

    /// Leaves a copy of these bytes to the shell in the same way.
    pub(super) fn leave(&mut self, bytes: &[u8]) -> Option<Range<usize>> {
        let range = self.defer(bytes.len())?;
        self.scratch[range.clone()].copy_from_slice(bytes);
        Some(range)
    }

    pub(super) fn big(&self) -> usize {
        BIG.min(self.scratch.len())
    }
}
