//! A bounded queue that takes memory for what is in it, not for what could be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// The end that is written to.
pub(super) struct Sender<T> {
    sender: mpsc::Sender<T>,
    waiting: Arc<AtomicUsize>,
    most: usize,
}

/// The end that is read from.
pub(super) struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
    waiting: Arc<AtomicUsize>,
}

/// A queue of `most` values.
pub(super) fn bounded<T>(most: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    let waiting = Arc::default();
    (Sender { sender, waiting: Arc::clone(&waiting), most }, Receiver { receiver, waiting })
}

impl<T> Sender<T> {
    /// Puts a value into the queue; false: it is full, or nobody reads it any more.
    pub(super) fn try_send(&self, value: T) -> bool {
        let has_room = self.waiting.fetch_add(1, Ordering::Relaxed) < self.most;
        let sent = has_room && self.sender.send(value).is_ok();
        if !sent {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }
}

impl<T> Receiver<T> {
    /// The next value; an error where none comes for so long, or ever.
    pub(super) fn next(&self, patience: Duration) -> Result<T, RecvTimeoutError> {
        self.receiver.recv_timeout(patience).inspect(|_| self.took_one())
    }

    /// The next value, if one is there.
    pub(super) fn try_next(&self) -> Option<T> {
        self.receiver.try_recv().ok().inspect(|_| self.took_one())
    }

    fn took_one(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_for_each_value_taken() {
        let (sender, receiver) = bounded(2);
        assert!(sender.try_send(1) && sender.try_send(2) && !sender.try_send(3));
        assert_eq!(receiver.try_next(), Some(1));
        assert!(sender.try_send(4) && !sender.try_send(5));
        assert_eq!([receiver.next(Duration::ZERO), receiver.next(Duration::ZERO)], [Ok(2), Ok(4)]);
        assert_eq!(receiver.next(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        drop(receiver);
        assert!(!sender.try_send(6));
    }
}
