//! Who listens to what a server says first, while it passes by.

use crate::wire::tls::server_flight::Flight;

/// More of an answer is not kept, HAProxy's `tune.bufsize`.
const MOST_KEPT: usize = 16 * 1024;

/// A listener.
#[derive(Debug)]
pub enum Listener {
    /// What becomes of a TLS session.
    Session(Flight),
    /// For rules that store something of it.
    Answer(Answer),
}

/// What a server has said so far.
#[derive(Debug, Default)]
pub struct Answer {
    said: Vec<u8>,
    has_more: bool,
}

impl Listener {
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        match self {
            Self::Session(flight) => flight.hear(bytes),
            Self::Answer(answer) => answer.hear(bytes),
        }
    }

    pub(super) fn has_heard(&self) -> bool {
        match self {
            Self::Session(flight) => flight.is_over(),
            Self::Answer(answer) => answer.has_more,
        }
    }
}

impl Answer {
    fn hear(&mut self, bytes: &[u8]) {
        let room = MOST_KEPT - self.said.len();
        self.said.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        self.has_more = true;
    }

    /// From its beginning.
    #[must_use]
    pub fn said(&self) -> &[u8] {
        &self.said
    }

    /// As a listener that wants to hear more; none: there is no room for that.
    #[must_use]
    pub fn go_on(self) -> Option<Listener> {
        (self.said.len() < MOST_KEPT).then_some(Listener::Answer(Self { has_more: false, ..self }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_up_to_a_bound() {
        let mut listener = Listener::Answer(Answer::default());
        assert!(!listener.has_heard());
        listener.hear(b"220 ");
        listener.hear(b"hello");
        assert!(listener.has_heard());
        let Listener::Answer(answer) = listener else { unreachable!() };
        assert_eq!(answer.said(), b"220 hello");
        let mut listener = answer.go_on().unwrap();
        assert!(!listener.has_heard());
        listener.hear(&[0; 20_000]);
        let Listener::Answer(answer) = listener else { unreachable!() };
        assert_eq!((answer.said().len(), answer.go_on().is_none()), (16 * 1024, true));
    }
}
