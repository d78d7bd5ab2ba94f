//! Opening the sockets: a file with its mode and owner, TCP, or one that the process was started with.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, chown};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use crate::model::{Descriptor, SocketPlace, StatsSocket};
use crate::os::inherited;

/// Why a socket is not open.
#[derive(Debug, thiserror::Error)]
#[error("the control socket {place} cannot be opened: cannot {action}: {source}; {remedy}")]
pub struct OpenError {
    place: SocketPlace,
    action: &'static str,
    source: io::Error,
    remedy: &'static str,
}

/// A socket that listens.
pub(super) struct Opened {
    pub(super) listener: Listener,
    /// Removed with it.
    _file: Option<OwnFile>,
}

pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Connections that wait for their turn.
const BACKLOG: i32 = 128;

impl Opened {
    /// Opens it, replacing what a dead process left. Within a tokio runtime.
    pub(super) fn open(spec: &StatsSocket) -> Result<Self, OpenError> {
        match &spec.place {
            SocketPlace::Path(path) => file(spec, path),
            SocketPlace::Tcp(address) => tcp(spec, *address),
            SocketPlace::Inherited(descriptor) => adopted(spec, descriptor),
        }
    }
}

fn file(spec: &StatsSocket, path: &Path) -> Result<Opened, OpenError> {
    let failed = |action, remedy| move |source| OpenError { place: spec.place.clone(), action, source, remedy };
    let directory = "its directory has to be there, and writable for vipgate";
    if let Some(parent) = path.parent().filter(|parent| parent.starts_with("/run") && !parent.exists()) {
        // What is in /run is gone with a restart of the machine, and a service of another name makes it no more.
        fs::create_dir_all(parent).map_err(failed("create its directory", directory))?;
    }
    if fs::symlink_metadata(path).is_ok_and(|old| !old.file_type().is_socket()) {
        let source = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(failed("replace what is there", "it is no socket: remove it, or name another path")(source));
    }
    if UnixStream::connect(path).is_ok() {
        let source = io::Error::from(io::ErrorKind::AddrInUse);
        return Err(failed("listen", "another process answers there: stop it, or name another path")(source));
    }
    let (user, group) = owner(spec)?;
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&fresh);
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.cloexec().nonblocking(), None)?;
        socket.bind(&SockAddr::unix(&fresh)?)?;
        io::Result::Ok(socket)
    };
    let socket = bind().map_err(failed("bind it", directory))?;
    let fresh = OwnFile::new(fresh);
    // Nobody can connect before it listens, and it is found under its name only when its mode and owner are right.
    if let Some(mode) = spec.mode {
        let permissions = Permissions::from_mode(mode);
        fs::set_permissions(&fresh.path, permissions).map_err(failed("set its mode", directory))?;
    }
    if user.is_some() || group.is_some() {
        let remedy = "run vipgate as a user that may give files away (CAP_CHOWN), or leave out user and group";
        chown(&fresh.path, user, group).map_err(io::Error::from).map_err(failed("set its owner", remedy))?;
    }
    socket.listen(BACKLOG).map_err(failed("listen", directory))?;
    fs::rename(&fresh.path, path).map_err(failed("give it its name", directory))?;
    let file = fresh.renamed(path);
    let listener = UnixListener::from_std(StdUnixListener::from(OwnedFd::from(socket)));
    let listener = listener.map_err(failed("wait for clients", directory))?;
    Ok(Opened { listener: Listener::Unix(listener), _file: Some(file) })
}

/// Who is to own the file, names looked up.
fn owner(spec: &StatsSocket) -> Result<(Option<Uid>, Option<Gid>), OpenError> {
    let unknown = |action| {
        let source = io::Error::from(io::ErrorKind::NotFound);
        OpenError { place: spec.place.clone(), action, source, remedy: "create it, or write another" }
    };
    let user = spec.user.as_deref().map(|name| match name.parse() {
        Ok(number) => Ok(Uid::from_raw(number)),
        Err(_) => User::from_name(name).ok().flatten().map(|user| user.uid).ok_or_else(|| unknown("find its user")),
    });
    let group = spec.group.as_deref().map(|name| match name.parse() {
        Ok(number) => Ok(Gid::from_raw(number)),
        Err(_) => Group::from_name(name).ok().flatten().map(|group| group.gid).ok_or_else(|| unknown("find its group")),
    });
    let (user, group) = (user.transpose()?, group.transpose()?);
    // What the file has anyway needs no privilege.
    Ok((user.filter(|user| *user != Uid::effective()), group.filter(|group| *group != Gid::effective())))
}

fn tcp(spec: &StatsSocket, address: SocketAddr) -> Result<Opened, OpenError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec().nonblocking(), None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(StdTcpListener::from(OwnedFd::from(socket)))
    };
    let remedy = "the address has to be on this node, and the port free";
    let failed = |source| OpenError { place: spec.place.clone(), action: "listen", source, remedy };
    Ok(Opened { listener: Listener::Tcp(bind().map_err(failed)?), _file: None })
}

fn adopted(spec: &StatsSocket, descriptor: &Descriptor) -> Result<Opened, OpenError> {
    let remedy = "the process that starts vipgate has to pass it on";
    let failed = |source| OpenError { place: spec.place.clone(), action: "use it", source, remedy };
    let take = || {
        let socket = inherited::socket(descriptor)?;
        socket.set_nonblocking(true)?;
        // It may be bound and not listen yet.
        socket.listen(BACKLOG)?;
        let unix = socket.domain()? == Domain::UNIX;
        let descriptor = OwnedFd::from(socket);
        Ok(match unix {
            true => Listener::Unix(UnixListener::from_std(StdUnixListener::from(descriptor))?),
            false => Listener::Tcp(TcpListener::from_std(StdTcpListener::from(descriptor))?),
        })
    };
    Ok(Opened { listener: take().map_err(failed)?, _file: None })
}

/// A socket's file, removed as long as it is this one.
struct OwnFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl OwnFile {
    fn new(path: PathBuf) -> Self {
        let identity = identity(&path);
        Self { path, identity }
    }

    fn renamed(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.path);
        self
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
