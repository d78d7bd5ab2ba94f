//! Sessions with the other nodes: what the speaker wants of them, and what they say, passed on.

use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

use super::node::Node;
use crate::model::Peering;
use crate::peer::{News, PeerEvent, Peers};
use crate::speaker::Speaker;

/// Starts the sessions on `port`; none: they are off, or could not be started, which is said.
pub(super) fn start(port: Option<u16>, speaker: &Arc<Speaker>) -> Option<Peers> {
    let (events, news) = mpsc::unbounded_channel();
    let peers = Peers::start(port?, events).inspect_err(
        |error| tracing::warn!(target: "vipgate", %error, "no sessions with other nodes: a death there is noticed by silence alone"),
    );
    let peers = peers.ok()?;
    let speaker = Arc::clone(speaker);
    // Not on the control thread: it may be busy when a peer dies.
    let spawned = thread::Builder::new().name("peer-news".into()).spawn(move || pass_on(news, &speaker));
    if let Err(error) = spawned {
        tracing::warn!(target: "vipgate", %error, "no sessions with other nodes: a thread could not be started");
        return None;
    }
    Some(peers)
}

fn pass_on(mut news: mpsc::UnboundedReceiver<PeerEvent>, speaker: &Speaker) {
    while let Some(PeerEvent { link, news }) = news.blocking_recv() {
        let text = match news {
            News::Connected => "up: a death there is noticed at once",
            News::Died => {
                tracing::warn!(target: "vipgate", peer = %link.peer, "the process there is dead");
                speaker.peer_died(link.peer);
                "dead"
            }
            News::Gone => "none",
        };
        speaker.show_session(link.peer, Some(text.to_owned()));
    }
}

impl Node {
    /// The speaker wants these sessions.
    pub(super) fn peer_with(&mut self, peering: Peering) {
        if let Some(peers) = &self.peers {
            peers.listen(peering.listen.iter().cloned());
            peers.follow(peering.follow.clone());
        }
        self.peering = peering;
    }

    /// Another port, or none.
    pub(super) fn restart_peers(&mut self, port: Option<u16>) {
        if let Some(peers) = self.peers.take() {
            // It says goodbye first; nobody waits for that.
            tokio::task::spawn_blocking(move || peers.stop());
        }
        self.peers = start(port, &self.speaker);
        let peering = std::mem::take(&mut self.peering);
        self.peer_with(peering);
    }
}
