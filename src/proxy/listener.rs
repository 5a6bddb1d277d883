//! Listening sockets, and accepting from them until told to stop. A permit is taken before each accept: beyond the
//! limit clients wait in the backlog. An accept error never ends a listener; nothing is awaited between accept and
//! spawn.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stream::Stream;

/// After an error (too many open files, for one) accepting at once would spin.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    /// Dropped, it takes its file with it.
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket, removed when dropped unless another socket has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Opens a unix socket that the owner and the group may use. A socket that nobody listens on any more is replaced,
    /// any other file is left alone.
    pub async fn unix(path: &Path) -> io::Result<Self> {
        if let Ok(metadata) = fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is there"));
            }
            if UnixStream::connect(path).await.is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
        let inode = fs::symlink_metadata(path)?.ino();
        Ok(Self::Unix(listener, SocketFile { path: path.to_owned(), inode }))
    }

    /// Where it listens; a unix socket has no address.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// The next client, and where it comes from.
    async fn accept(&self) -> io::Result<(Stream, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Small messages must not wait for the next ones.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), from.to_string()))
            }
            Self::Unix(listener, file) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), format!("unix:{}", file.path.display())))
            }
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

/// Serves clients of `listener` until `stop`; then its socket closes, so that new clients are refused. Connections run
/// on in `connections`.
pub async fn serve<F: Future<Output = ()> + Send + 'static>(
    listener: Listener,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    stop: CancellationToken,
    client: impl Fn(Stream, String) -> F,
) {
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = next => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, from)) => {
                let serving = client(stream, from);
                connections.spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a client failed");
                sleep(PAUSE).await;
            }
        }
    }
}
