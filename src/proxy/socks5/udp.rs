//! UDP ASSOCIATE (RFC 1928, section 7): datagrams of one client, judged one by one, carried by tailscaled. Only the
//! associating client is served; fragments are dropped, as the RFC allows.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{new_udp_header, parse_udp_request};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, sleep_until};

use crate::proxy::client::Proxy;
use crate::proxy::connect::deadline::RETRY;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::counters::Open;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::relay::limits::Traffic;
use crate::target::datagrams::{Datagrams, Way};
use crate::target::dial::{Dial, Host, Target};

/// An association without datagrams in either direction for this time ends: the recommendation of RFC 4787, section
/// 4.3. `idle_timeout` shortens or lengthens it.
const IDLE: Duration = Duration::from_secs(300);

/// The largest datagram of UDP, with the largest header of SOCKS5.
const LARGEST: usize = (64 << 10) + 262;

/// As many targets are remembered; a client that has more pays a question to tailscaled for each datagram.
const REMEMBERED: usize = 256;

/// How long a way to a target, or that there is none, is remembered: a node may join, a route come, a name move.
const WAY_GOOD_FOR: Duration = Duration::from_secs(10);
const REFUSAL_GOOD_FOR: Duration = Duration::from_secs(1);

/// A socket that faces the client, and where its datagrams are to come from.
#[derive(Debug)]
pub struct UdpSession {
    socket: UdpSocket,
    client: Client,
}

/// Where a client's datagrams come from.
#[derive(Debug)]
struct Client {
    /// The address of its connection.
    peer: IpAddr,
    /// What it has announced in its request, where that is no zeros: behind a translation of addresses it may be another one.
    address: Option<IpAddr>,
    port: Option<u16>,
    /// Where its first datagram came from: no other socket is served.
    socket: Option<SocketAddr>,
}

impl Client {
    /// Whether a datagram is the client's.
    fn sends_from(&self, from: SocketAddr) -> bool {
        let address = from.ip().to_canonical();
        match self.socket {
            Some(socket) => socket == from,
            None => {
                let is_known = address == self.peer || self.address == Some(address);
                is_known && self.port.is_none_or(|port| port == from.port())
            }
        }
    }
}

/// Opens the socket where the client is known to reach this machine, in the client's own family. `announced` is what the
/// client says that it will send from, zeros where it does not know (RFC 1928, section 4).
pub async fn open(client: &Stream, announced: &Target) -> io::Result<(UdpSession, SocketAddr)> {
    let near = client.local_ip().ok_or(io::ErrorKind::AddrNotAvailable)?.to_canonical();
    let peer = client.peer_ip().ok_or(io::ErrorKind::AddrNotAvailable)?.to_canonical();
    let socket = UdpSocket::bind((near, 0)).await?;
    let bound = socket.local_addr()?;
    let port = Some(announced.port).filter(|port| *port != 0);
    let client = Client { peer, address: announced_address(announced), port, socket: None };
    Ok((UdpSession { socket, client }, bound))
}

/// `None` for zeros, which [`Target`] takes for this machine, and for names.
fn announced_address(announced: &Target) -> Option<IpAddr> {
    match announced.host {
        Host::Ip(address) if address != Ipv4Addr::LOCALHOST && address != Ipv6Addr::LOCALHOST => Some(address),
        _ => None,
    }
}

/// Serves the association until the client ends its connection, or is idle.
pub async fn serve_association<D: Dial>(proxy: &Proxy<D>, mut control: Stream, opened: UdpSession) {
    let mut association = Association {
        proxy,
        socket: opened.socket,
        client: opened.client,
        ways: HashMap::new(),
        carried: Traffic::within(&proxy.counters),
        open: None,
    };
    tokio::select! {
        () = ended(&mut control) => {}
        result = association.carry() => {
            if let Err(error) = result {
                association.broke(&error);
            }
        }
        () = proxy.patience.draining.cancelled() => {}
    }
}

/// The target of a request or of a datagram.
pub fn target(target: TargetAddr) -> Target {
    match target {
        TargetAddr::Ip(address) => address.into(),
        TargetAddr::Domain(name, port) => Target::new(&name, port),
    }
}

/// Ends when the other side does. What it says meanwhile means nothing.
async fn ended(control: &mut (impl AsyncRead + Unpin)) {
    let mut ignored = [0; 64];
    while control.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

/// Where the datagrams to a target go, or why they may not be sent.
type Judged = Result<(Way, SocketAddr), Outcome>;

struct Association<'a, D> {
    proxy: &'a Proxy<D>,
    /// Faces the client.
    socket: UdpSocket,
    client: Client,
    /// What is known of each target, and since when.
    ways: HashMap<Target, (Instant, Judged)>,
    carried: Traffic,
    /// Counts it from the time when tailscaled has its part of it.
    open: Option<Open>,
}

impl<D: Dial> Association<'_, D> {
    /// Carries datagrams until the association is idle. One that breaks because tailscaled restarts is made anew.
    async fn carry(&mut self) -> io::Result<()> {
        let idle = self.proxy.patience.idle.unwrap_or(IDLE);
        let mut deadline = Instant::now() + idle;
        let (mut from_client, mut from_targets) = (vec![0; LARGEST], vec![0; LARGEST]);
        loop {
            let far = self.proxy.connector.associate().await.map_err(io::Error::other)?;
            self.open.get_or_insert_with(|| self.proxy.counters.associated());
            // The way to a target may be another one now.
            self.ways.clear();
            loop {
                tokio::select! {
                    received = self.socket.recv_from(&mut from_client) => {
                        let (length, from) = received?;
                        if self.send_on(&from_client[..length], from, &far).await {
                            deadline = Instant::now() + idle;
                        }
                    }
                    received = far.receive(&mut from_targets) => {
                        let Some((source, payload)) = received else { break };
                        self.send_back(source, payload).await;
                        deadline = Instant::now() + idle;
                    }
                    () = sleep_until(deadline) => return Ok(()),
                }
            }
            // A tailscaled that has no file left ends one at once.
            sleep(RETRY).await;
        }
    }

    fn broke(&self, error: &io::Error) {
        let (client, reason) = (self.client.peer.to_string(), format!("UDP association: {error}"));
        match self.open {
            Some(_) => tracing::info!(client, reason, "association broke"),
            None => self.proxy.unserved(&client, Protocol::Socks5Udp, Outcome::Failed, &reason),
        }
    }

    /// Sends the client's datagram on; whether it was one to be sent.
    async fn send_on(&mut self, datagram: &[u8], from: SocketAddr, far: &Datagrams) -> bool {
        if !self.client.sends_from(from) {
            return false;
        }
        let Ok((0, addressed, payload)) = parse_udp_request(datagram).await else { return false };
        self.client.socket = Some(from);
        let Some((way, address)) = self.way(target(addressed)).await else { return false };
        if far.send(way, address, payload).is_ok() {
            self.carried.sent.add(payload.len());
        }
        true
    }

    /// The way to `target`. Only what the rules say of it is remembered: anything else may be another thing with the next
    /// datagram.
    async fn way(&mut self, target: Target) -> Option<(Way, SocketAddr)> {
        let known = self
            .ways
            .get(&target)
            .filter(|(since, way)| since.elapsed() < if way.is_ok() { WAY_GOOD_FOR } else { REFUSAL_GOOD_FOR });
        let way = match known {
            Some((_, way)) => *way,
            None => self.judge(target).await?,
        };
        way.inspect_err(|outcome| self.proxy.counters.dropped(*outcome)).ok()
    }

    async fn judge(&mut self, target: Target) -> Option<Judged> {
        let judged = self.proxy.connector.judge_datagram(&target).await.map_err(|error| {
            tracing::info!(client = %self.client.peer, %target, %error, "datagram not sent on");
            Outcome::from(&error)
        });
        if !matches!(judged, Ok(_) | Err(Outcome::Policy)) {
            return None;
        }
        if self.ways.len() >= REMEMBERED {
            self.ways.clear();
        }
        self.ways.insert(target, (Instant::now(), judged));
        Some(judged)
    }

    async fn send_back(&mut self, source: SocketAddr, payload: &[u8]) {
        let (Some(client), Ok(header)) = (self.client.socket, new_udp_header(TargetAddr::Ip(source))) else { return };
        // Lost like any datagram where the client does not listen any more.
        let _ = self.socket.send_to(&[&header, payload].concat(), client).await;
        self.carried.received.add(payload.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(announced: &str) -> Client {
        let announced: SocketAddr = announced.parse().expect("an address");
        let target = Target::from(announced);
        let port = Some(announced.port()).filter(|port| *port != 0);
        let peer = "192.0.2.1".parse().expect("an address");
        Client { peer, address: announced_address(&target), port, socket: None }
    }

    #[test]
    fn a_client_is_served_from_where_it_has_announced_or_from_where_its_connection_comes() {
        for (announced, from, is_served) in [
            ("0.0.0.0:0", "192.0.2.1:1", true),
            ("0.0.0.0:0", "192.0.2.2:1", false),
            ("0.0.0.0:7", "192.0.2.1:7", true),
            ("0.0.0.0:7", "192.0.2.1:8", false),
            ("10.0.0.5:0", "10.0.0.5:1", true),
            ("10.0.0.5:0", "192.0.2.1:1", true),
            ("10.0.0.5:0", "10.0.0.6:1", false),
            ("10.0.0.5:7", "10.0.0.5:8", false),
            ("127.0.0.1:7", "192.0.2.1:7", true),
        ] {
            assert_eq!(
                client(announced).sends_from(from.parse().expect("an address")),
                is_served,
                "{announced} {from}"
            );
        }
        let known = Client { socket: Some("192.0.2.1:1".parse().expect("an address")), ..client("0.0.0.0:0") };
        assert!(known.sends_from("192.0.2.1:1".parse().expect("an address")));
        assert!(!known.sends_from("192.0.2.1:2".parse().expect("an address")));
    }
}
