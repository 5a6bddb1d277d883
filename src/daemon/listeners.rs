//! Opens the listening sockets and accepts the proxy's clients on them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener, UdpSocket as StdUdpSocket};
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::settings::Settings;
use crate::config::types::address::{Forward, Listen};
use crate::exit_reason::ExitReason;
use crate::proxy::client::{serve_client, serve_forward};
use crate::proxy::context::ProxyContext;
use crate::proxy::listener;
use crate::proxy::listener::admission::{Admission, FirstPlace};
use crate::proxy::listener::client::Client;
use crate::proxy::listener::stream::Stream;
use crate::proxy::listener::{Entrance, Listener};
use crate::proxy::udp_forward::serve_udp_forward;
use crate::tailscaled::dialer::Dialer;
use crate::target::host::Target;

/// The open listeners of the proxy and of the forwards.
pub struct ProxyListeners {
    proxies: Vec<OpenListener>,
    forwards: Vec<(OpenListener, Target)>,
    udp_forwards: Vec<(UdpSocket, Target)>,
}

/// An open listener, and whether a balancer is in front of it that speaks the PROXY protocol.
struct OpenListener {
    listener: Listener,
    by_balancer: bool,
}

impl ProxyListeners {
    /// Opens the listeners of `socks_listen` and `forwards`. Fails when one of them cannot be opened.
    pub async fn open(settings: &Settings) -> Result<Self, ExitReason> {
        let behind = &settings.proxy_protocol;
        let proxies = open_all("socks_listen", &settings.socks_listen, behind).await?;
        let (mut forwards, mut udp_forwards) = (Vec::new(), Vec::new());
        for Forward { listen, target } in &settings.forwards {
            match listen {
                Listen::Udp(address) => udp_forwards.push((bind_datagrams("forwards", *address)?, target.clone())),
                listen => forwards.push((open("forwards", listen, behind).await?, target.clone())),
            }
        }
        Ok(Self { proxies, forwards, udp_forwards })
    }

    /// Returns the addresses of the sockets that take datagrams.
    pub fn udp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.udp_forwards.iter().filter_map(|(socket, _)| socket.local_addr().ok())
    }

    /// Returns the addresses of all listeners that have one; unix sockets have none.
    pub fn tcp_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let forwards = self.forwards.iter().map(|(open, _)| open);
        self.proxies.iter().chain(forwards).filter_map(|open| open.listener.tcp_address())
    }

    /// Returns the address of the first proxy listener that has one and takes clients without a balancer; unix sockets have
    /// none.
    pub fn proxy_address(&self) -> Option<SocketAddr> {
        self.proxies.iter().filter(|open| !open.by_balancer).find_map(|open| open.listener.tcp_address())
    }
}

/// Accepts clients on any number of listeners, which share its limits.
pub struct ClientAcceptor {
    pub proxy: Arc<ProxyContext<Dialer>>,
    pub admission: Admission,
    /// The task of each client.
    pub connections: TaskTracker,
    /// The task of each listener, which ends once its last client is in `connections`.
    pub accept_loops: TaskTracker,
    /// Cancelled, it ends accepting.
    pub stop_accepting: CancellationToken,
}

impl ClientAcceptor {
    /// Accepts on all `listeners` from now on.
    pub fn accept_on(&self, listeners: ProxyListeners) {
        listeners.proxies.into_iter().for_each(|open| self.proxy_on(open));
        listeners.forwards.into_iter().for_each(|(open, target)| self.forward_on(open, target));
        for (socket, target) in listeners.udp_forwards {
            tokio::spawn(serve_udp_forward(Arc::clone(&self.proxy), socket, target));
        }
    }

    fn proxy_on(&self, open: OpenListener) {
        let proxy = Arc::clone(&self.proxy);
        let by_lobby = proxy.users.ask_for_password() || open.listener.is_on_the_network();
        let first = if by_lobby { FirstPlace::Lobby } else { FirstPlace::Permit };
        self.accept(open, first, move |stream, mut client| {
            let proxy = Arc::clone(&proxy);
            async move { serve_client(&proxy, stream, &mut client).await }
        });
    }

    fn forward_on(&self, open: OpenListener, target: Target) {
        let (proxy, target) = (Arc::clone(&self.proxy), Arc::new(target));
        // Nothing is asked of its clients that they could fail at.
        self.accept(open, FirstPlace::Permit, move |stream, mut client| {
            let (proxy, target) = (Arc::clone(&proxy), Arc::clone(&target));
            async move { serve_forward(&proxy, stream, &mut client, &target).await }
        });
    }

    /// Accepts clients on one listener. Those of a balancer have another `first` place, and are in the lobby after that.
    fn accept<F>(
        &self,
        open: OpenListener,
        first: FirstPlace,
        serve: impl Fn(Stream, Client) -> F + Clone + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let OpenListener { listener, by_balancer } = open;
        let first = if by_balancer { FirstPlace::Unknown } else { first };
        let entrance = Entrance { admission: self.admission.clone(), first };
        let (connections, stop) = (self.connections.clone(), self.stop_accepting.clone());
        self.accept_loops.spawn(listener::serve_clients(listener, entrance, connections, stop, serve));
    }
}

/// Opens one proxy socket for each address or path of the setting `key`; those in `behind` have a balancer in front.
async fn open_all(key: &str, places: &[Listen], behind: &[Listen]) -> Result<Vec<OpenListener>, ExitReason> {
    let mut all = Vec::new();
    for place in places {
        all.push(open(key, place, behind).await?);
    }
    Ok(all)
}

async fn open(key: &str, place: &Listen, behind: &[Listen]) -> Result<OpenListener, ExitReason> {
    let listener = match place {
        Listen::Tcp(address) => tcp(key, *address)?,
        Listen::Unix(path) => unix(key, path).await?,
        Listen::Udp(_) => return Err(ExitReason::Configuration(format!("{key} {place} takes no connections"))),
    };
    Ok(OpenListener { listener, by_balancer: behind.contains(place) })
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

/// Opens the TCP socket of the setting `key`. The error names the setting, the address and what to do.
pub fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, ExitReason> {
    let listener = open_tcp(address).map_err(|error| cannot_listen(key, address, &error))?;
    if let Ok(bound) = listener.local_addr() {
        tracing::info!(%bound, key, "listening");
    }
    Ok(listener)
}

/// Opens the UDP socket of the setting `key`, as [`bind`] does a TCP socket.
pub fn bind_datagrams(key: &str, address: SocketAddr) -> Result<UdpSocket, ExitReason> {
    let opened = StdUdpSocket::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    });
    opened.map_err(|error| cannot_listen(key, address, &error))
}

fn cannot_listen(key: &str, address: SocketAddr, error: &io::Error) -> ExitReason {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher one",
        _ => "choose an address of this machine",
    };
    ExitReason::Configuration(format!("{key} {address} cannot be listened on: {error}; {hint}"))
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
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
