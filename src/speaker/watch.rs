//! Who else announces the addresses of our routers: the successor of one that leaves, or a rival of a master.

use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::io::unix::AsyncFd;

use crate::os::packet::AnnouncementReceiver;
use crate::wire::{Announcement, Mac};

/// Frames looked at a turn.
const BATCH: usize = 32;
/// A neighbour advertisement with its options; what is longer is cut off and not understood.
const BUFFER: usize = 256;

/// Listens on one interface for announcements by others.
#[derive(Debug)]
pub(super) struct Watch {
    receiver: AsyncFd<AnnouncementReceiver>,
    own: Option<Mac>,
}

impl Watch {
    /// Begins to listen on the interface with this index; `own` is its address.
    pub(super) fn open(index: u32, own: Option<Mac>) -> io::Result<Self> {
        Ok(Self { receiver: AnnouncementReceiver::open(index)?.register()?, own })
    }

    /// Ready when a frame waits.
    pub(super) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        // An error is for the read that follows.
        self.receiver.poll_read_ready(context).map(drop)
    }

    /// The addresses others announced since the last call.
    pub(super) fn read(&self, mut deliver: impl FnMut(IpAddr)) {
        let mut buffer = [0; BUFFER];
        for _ in 0..BATCH {
            let interest = tokio::io::Interest::READABLE;
            match self.receiver.try_io(interest, |receiver| receiver.receive(&mut buffer)) {
                Ok(length) => {
                    let announcement = Announcement::parse(buffer.get(..length).unwrap_or_default());
                    if let Some(Announcement { address, mac, .. }) = announcement
                        && Some(mac) != self.own
                    {
                        deliver(address);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => tracing::trace!(%error, "receive"),
            }
        }
    }

    /// Stops listening, somewhere else: closing waits for the kernel's readers.
    pub(super) fn close(self) {
        tokio::task::spawn_blocking(move || drop(self.receiver.into_inner()));
    }
}

/// What others announce on the interface, for as long as the stream is held.
pub(super) fn announcements(index: u32) -> io::Result<BoxStream<'static, Announcement>> {
    let ears = Ears(Some(AnnouncementReceiver::open(index)?.register()?));
    let next = |ears: Ears| async move {
        let announcement = ears.next().await?;
        Some((announcement, ears))
    };
    Ok(futures_util::stream::unfold(ears, next).boxed())
}

struct Ears(Option<AsyncFd<AnnouncementReceiver>>);

impl Ears {
    /// None: the interface is gone.
    async fn next(&self) -> Option<Announcement> {
        let receiver = self.0.as_ref()?;
        let mut buffer = [0; BUFFER];
        loop {
            let mut ready = receiver.readable().await.ok()?;
            match ready.try_io(|receiver| receiver.get_ref().receive(&mut buffer)) {
                Ok(Ok(length)) => {
                    let announcement = Announcement::parse(buffer.get(..length).unwrap_or_default());
                    if announcement.is_some() {
                        return announcement;
                    }
                }
                // A link that went down says so once.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "announcements by others are not heard any more");
                    return None;
                }
                Err(_) => {}
            }
        }
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        let receiver = self.0.take().map(AsyncFd::into_inner);
        // Closing waits for the kernel's readers: somewhere else, where there is one.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(receiver));
        }
    }
}
