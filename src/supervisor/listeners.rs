//! Opens the listening sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};

use tokio::net::TcpListener;

use crate::fatal::Fatal;

/// Opens one socket for each address of the setting `key`.
pub(super) fn bind_all(key: &str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Fatal> {
    addresses.iter().map(|address| bind(key, *address)).collect()
}

/// Opens a socket for the setting `key`.
pub(super) fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Fatal> {
    let listener = open(address).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher one",
            _ => "choose an address of this machine",
        };
        Fatal::Configuration(format!("{key} {address} cannot be listened on: {error}; {hint}"))
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
