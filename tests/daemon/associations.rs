//! The two ends of UDP tests: an echoing target, and a client's association.
//!
//! The target sends everything back. The association is that of RFC 1928, section 7.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use testbed::daemon::SOCKS;
use testbed::socks;
use tokio::sync::watch;

/// For a datagram that comes.
pub const ARRIVES: Duration = Duration::from_secs(10);
/// For one that must not come.
pub const SILENCE: Duration = Duration::from_millis(300);

/// Sends every datagram back to where it came from, until it is dropped.
pub struct Echo {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// On addresses of the namespace; on one thread, however many they are.
    pub fn on(addresses: &[&str]) -> Self {
        let sockets: Vec<_> = addresses.iter().map(|address| UdpSocket::bind(address).expect("a port")).collect();
        let (stop, mut stopped) = watch::channel(false);
        let thread = thread::spawn(move || {
            let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
            event_loop.block_on(async {
                sockets.into_iter().for_each(|socket| drop(tokio::spawn(send_back(socket))));
                let _ = stopped.wait_for(|stopped| *stopped).await;
            });
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.thread.take().map(JoinHandle::join);
    }
}

async fn send_back(socket: UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let mut buffer = vec![0; 65_535];
    loop {
        // An error is that of an earlier datagram, which found nobody.
        if let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], from).await;
        }
    }
}

/// A client's association.
pub struct Association {
    /// Ends it when dropped.
    control: TcpStream,
    socket: UdpSocket,
    relay: SocketAddr,
}

impl Association {
    /// One that does not say where its datagrams will come from.
    pub fn open() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        Self::announced(SOCKS, socket, (Ipv4Addr::UNSPECIFIED, 0).into())
    }

    /// By `proxy`, for datagrams from `socket`; the request says that they come from `source`.
    pub fn announced(proxy: SocketAddr, socket: UdpSocket, source: SocketAddr) -> Self {
        Self::over(socks::open(proxy).expect("connects"), socket, source)
    }

    /// The same over a stream that is open already.
    pub fn over(control: TcpStream, socket: UdpSocket, source: SocketAddr) -> Self {
        Self::greeted(control, socket, (source, None))
    }

    /// One of a user, that does not say where its datagrams will come from.
    pub fn of_user(proxy: SocketAddr, socket: UdpSocket, credentials: Option<(&str, &str)>) -> Self {
        let control = socks::open(proxy).expect("connects");
        Self::greeted(control, socket, ((Ipv4Addr::UNSPECIFIED, 0).into(), credentials))
    }

    fn greeted(
        mut control: TcpStream,
        socket: UdpSocket,
        (source, credentials): (SocketAddr, Option<(&str, &str)>),
    ) -> Self {
        socks::authenticate(&mut control, credentials).expect("greets");
        control.write_all(&socks::request(3, &source.ip().to_string(), source.port())).expect("asks");
        let relay = socks::read_reply(&mut control).expect("is associated");
        Self { control, socket, relay }
    }

    /// BND.ADDR and BND.PORT: where the proxy takes datagrams.
    pub fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// Another client, with a socket of its own, that sends to this association.
    pub fn intruder(&self) -> Self {
        let address: IpAddr = self.socket.local_addr().expect("an address").ip();
        let socket = UdpSocket::bind((address, 0)).expect("a port");
        Self { control: self.control.try_clone().expect("a copy"), socket, relay: self.relay }
    }

    pub fn send(&self, host: &str, port: u16, payload: &[u8]) {
        self.send_as(0, host, port, payload);
    }

    /// The header of a datagram is that of a request, but for its first three bytes.
    pub fn send_as(&self, fragment: u8, host: &str, port: u16, payload: &[u8]) {
        let mut datagram = socks::request(0, host, port);
        datagram[..3].copy_from_slice(&[0, 0, fragment]);
        datagram.extend_from_slice(payload);
        self.socket.send_to(&datagram, self.relay).expect("sent");
    }

    /// The payload of the next datagram; `None` when none comes.
    pub fn receive(&self, within: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(within)).expect("a timeout");
        let mut buffer = [0; 65_535];
        let length = self.socket.recv(&mut buffer).ok()?;
        let header = match buffer[3] {
            1 => 10,
            3 => 7 + usize::from(buffer[4]),
            _ => 22,
        };
        Some(buffer[header..length].to_vec())
    }
}
