//! Opens the listening sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::Path;

use tokio::net::TcpListener;

use crate::config::types::address::Listen;
use crate::exit_reason::ExitReason;
use crate::proxy::listener::Listener;

/// Opens one proxy socket for each address or path of the setting `key`.
pub async fn open_all(key: &str, places: &[Listen]) -> Result<Vec<Listener>, ExitReason> {
    let mut listeners = Vec::new();
    for place in places {
        listeners.push(match place {
            Listen::Tcp(address) => tcp(key, *address)?,
            Listen::Unix(path) => unix(key, path).await?,
        });
    }
    Ok(listeners)
}

fn tcp(key: &str, address: SocketAddr) -> Result<Listener, ExitReason> {
    let listener = bind(key, address)?.into_std().and_then(Listener::tcp);
    listener.map_err(|error| ExitReason::Configuration(format!("{key} {address} cannot be listened on: {error}")))
}

async fn unix(key: &str, path: &Path) -> Result<Listener, ExitReason> {
    let listener = Listener::unix(path).await.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another path",
            io::ErrorKind::AlreadyExists => "choose another path, or remove the file",
            io::ErrorKind::NotFound => "make its directory first",
            _ => "choose a path in a directory that this user may write to",
        };
        ExitReason::Configuration(format!("{key} unix:{} cannot be listened on: {error}; {hint}", path.display()))
    })?;
    tracing::info!(path = %path.display(), key, "listening");
    Ok(listener)
}

/// Opens a socket for the setting `key`.
pub fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, ExitReason> {
    let listener = open(address).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher one",
            _ => "choose an address of this machine",
        };
        ExitReason::Configuration(format!("{key} {address} cannot be listened on: {error}; {hint}"))
    })?;
    if let Ok(bound) = listener.local_addr() {
        tracing::info!(%bound, key, "listening");
    }
    Ok(listener)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = StdListener::bind(address).or_else(|error| match (error.raw_os_error(), address) {
        // `[::]` stands for every address, also where the kernel knows no IPv6.
        (Some(code), SocketAddr::V6(v6)) if code == nix::libc::EAFNOSUPPORT && v6.ip().is_unspecified() => {
            StdListener::bind((Ipv4Addr::UNSPECIFIED, v6.port()))
        }
        _ => Err(error),
    })?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
