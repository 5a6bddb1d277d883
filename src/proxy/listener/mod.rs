//! Listening sockets, and the loop that accepts clients until told to stop.
//!
//! A permit is taken before each accept, once a client is there: beyond the limit clients wait in the backlog, and a
//! listener without clients holds no permit. An accept error never ends a listener; nothing is awaited between accept
//! and spawn.

pub mod admission;
pub mod client;
pub(crate) mod guests;
pub(crate) mod lobby;
pub(crate) mod proxy_header;
pub(crate) mod records;
pub(crate) mod source;
pub(crate) mod split;
pub(crate) mod stream;
pub(crate) mod tls;

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::failed_accepts::FailedAccepts;
use crate::net::keepalive::{allow_pauses, notice_vanished_peer};
use crate::net::socket_file;
use crate::net::unix_stream::{LocalStream, watched};
use crate::proxy::listener::admission::{Admission, FirstPlace, Ticket};
use crate::proxy::listener::client::{Client, ClientOrigin};
use crate::proxy::listener::source::Source;
use crate::proxy::listener::stream::Stream;

/// Most clients that are accepted from one backlog at a stop: as many as Linux lets wait unless it is told otherwise
/// (net.core.somaxconn). Clients that come faster than they are accepted do not hold a stop up.
const MOST_IN_BACKLOG: usize = 4096;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(AsyncFd<TcpListener>),
    /// A unix socket, whose file is removed when this is dropped.
    Unix(AsyncFd<UnixListener>, SocketFile),
}

/// The file of a unix socket, removed when dropped unless another socket has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Takes a socket that listens already.
    pub fn tcp(listener: TcpListener) -> io::Result<Self> {
        // Small messages must not wait for the next ones (Nagle's algorithm). Accepted connections inherit it.
        setsockopt(&listener, sockopt::TcpNoDelay, &true)?;
        if let Err(error) = notice_vanished_peer(&listener, listener.local_addr()?.ip()) {
            tracing::debug!(%error, "clients that vanish are not noticed by keepalive");
        }
        Ok(Self::Tcp(with_long_backlog(listener)?))
    }

    /// Opens a unix socket that the owner and the group may use. A socket that nobody listens on any more is replaced,
    /// any other file is left alone.
    pub async fn unix(path: &Path) -> io::Result<Self> {
        if let Ok(metadata) = fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is there"));
            }
            // Any other result, such as that of a socket for datagrams or a lack of permission, comes from a socket
            // that is in use.
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
                _ => return Err(io::ErrorKind::AddrInUse.into()),
            }
        }
        let (bound, file) = socket_file::bind(path)?;
        let file = SocketFile { path: path.to_owned(), inode: file.ino() };
        Ok(Self::Unix(with_long_backlog(UnixListener::from(bound))?, file))
    }

    /// Returns the address that it listens on; `None` for a unix socket.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.get_ref().local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// Whether other machines reach it.
    pub fn is_on_the_network(&self) -> bool {
        self.tcp_address().is_some_and(|address| !address.ip().to_canonical().is_loopback())
    }

    /// Accepts the next client: its stream, where it comes from, and its ticket.
    async fn accept(&self, entrance: &Entrance) -> (io::Result<(Stream, ClientOrigin)>, Ticket) {
        match self {
            Self::Tcp(listener) => accept(listener, entrance, || self.take()).await,
            Self::Unix(listener, _) => accept(listener, entrance, || self.take()).await,
        }
    }

    /// Accepts a client that waits; an error of the kind `WouldBlock` where none does.
    fn take(&self) -> io::Result<(Stream, ClientOrigin)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.get_ref().accept()?;
                stream.set_nonblocking(true)?;
                if self.is_on_the_network() && stream.local_addr().is_ok_and(|own| own.ip() == from.ip()) {
                    allow_pauses(&stream);
                }
                let origin = ClientOrigin {
                    from: from.to_string(),
                    source: from.ip().into(),
                    by_network: self.is_on_the_network(),
                    by_balancer: false,
                    stated_ip: None,
                };
                Ok((Stream::Tcp(TcpStream::from_std(stream)?), origin))
            }
            Self::Unix(listener, file) => {
                let (stream, _) = listener.get_ref().accept()?;
                stream.set_nonblocking(true)?;
                let from = format!("unix:{}", file.path.display());
                let source = Source::Unix;
                let origin = ClientOrigin { from, source, by_network: false, by_balancer: false, stated_ip: None };
                Ok((Stream::Unix(LocalStream::new(stream)?), origin))
            }
        }
    }
}

/// How clients of one listener come in.
#[derive(Clone, Debug)]
pub struct Entrance {
    pub admission: Admission,
    pub first: FirstPlace,
}

impl Entrance {
    /// Gives the client of `origin` the place that `ticket` is for.
    fn admit(&self, mut origin: ClientOrigin, ticket: Ticket) -> Client {
        let by_balancer = self.first == FirstPlace::Unknown;
        // Whoever reaches the balancer reaches the listener.
        origin.by_network |= by_balancer;
        origin.by_balancer = by_balancer;
        let place = self.admission.place(ticket, origin.source);
        Client::new(origin, self.admission.clone(), place)
    }
}

/// Lets as many clients wait as the kernel allows (net.core.somaxconn): the standard library's 128 are too few where
/// the backlog is what clients wait in. A TCP client beyond it is slow, one of a unix socket fails.
fn with_long_backlog<L: AsFd + AsRawFd>(listener: L) -> io::Result<AsyncFd<L>> {
    listen(&listener, Backlog::MAXALLOWABLE)?;
    watched(listener, Interest::READABLE)
}

/// Waits for a client first and for a permit then: several listeners that each took a permit to wait with would keep
/// them from each other's clients, for ever where there are fewer permits than listeners.
async fn accept<L: AsRawFd, C>(
    listener: &AsyncFd<L>,
    entrance: &Entrance,
    take: impl Fn() -> io::Result<C>,
) -> (io::Result<C>, Ticket) {
    loop {
        let ready = listener.readable().await;
        let ticket = entrance.admission.ticket(entrance.first).await;
        match ready.map(|mut ready| ready.try_io(|_| take())) {
            Ok(Ok(accepted)) => return (accepted, ticket),
            // The client has gone meanwhile.
            Ok(Err(_)) => {}
            Err(error) => return (Err(error), ticket),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Serves clients of `listener` until `stop`; then its socket closes, so that new clients are refused. Those that wait in
/// the backlog are accepted all at once, since closing resets them, and are served as others end. Connections run on in
/// `connections`; each keeps its permit until it ends.
pub async fn serve_clients<F: Future<Output = ()> + Send + 'static>(
    listener: Listener,
    entrance: Entrance,
    connections: TaskTracker,
    stop: CancellationToken,
    serve: impl Fn(Stream, Client) -> F + Clone + Send + 'static,
) {
    let mut failed = FailedAccepts::default();
    loop {
        let (accepted, ticket) = tokio::select! {
            accepted = listener.accept(&entrance) => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, origin)) => {
                drop(connections.spawn(serve(stream, entrance.admit(origin, ticket))));
                if entrance.first != FirstPlace::Permit {
                    // It says what it has to say before others may take its place.
                    yield_now().await;
                }
            }
            Err(error) => failed.pause(&error, "client").await,
        }
    }
    for _ in 0..MOST_IN_BACKLOG {
        match listener.take() {
            Ok((stream, origin)) => {
                let (entrance, serve) = (entrance.clone(), serve.clone());
                drop(connections.spawn(async move {
                    let ticket = entrance.admission.ticket_at_once(entrance.first).await;
                    serve(stream, entrance.admit(origin, ticket)).await;
                }));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            // There may be no file for one more until a connection ends.
            Err(error) => failed.pause(&error, "client").await,
        }
    }
}
