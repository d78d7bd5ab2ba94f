//! The work of one router, in the order in which it was given.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::addresses::Work;

/// What is to be done.
#[derive(Debug)]
pub(super) struct Queue {
    incoming: mpsc::UnboundedReceiver<Work>,
    waiting: VecDeque<Work>,
}

impl Queue {
    pub(super) fn new(incoming: mpsc::UnboundedReceiver<Work>) -> Self {
        Self { incoming, waiting: VecDeque::new() }
    }

    /// What is to be done next; none: nothing any more.
    pub(super) async fn next(&mut self) -> Option<Work> {
        match self.waiting.pop_front() {
            Some(work) => Some(work),
            None => self.incoming.recv().await,
        }
    }

    /// Completes once more work has come than was waiting; its turn is later.
    pub(super) async fn grow(&mut self) {
        match self.incoming.recv().await {
            Some(work) => self.waiting.push_back(work),
            None => std::future::pending().await,
        }
    }

    /// Completes once any work waits.
    pub(super) async fn wait(&mut self) {
        if self.waiting.is_empty() {
            self.grow().await;
        }
    }
}
