//! UDP ASSOCIATE (RFC 1928, section 7): datagrams of one client, judged one by one, carried by tailscaled's own SOCKS5
//! server. Only the associating client is served; fragments are dropped, as the RFC allows.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{new_udp_header, parse_udp_request};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use super::client::Proxy;
use super::counters::Open;
use super::label::{Outcome, Protocol};
use super::patience::Carried;
use super::stream::Stream;
use crate::dial::{Association, Dial, Host, Target};

/// An association without datagrams in either direction for this time ends: the recommendation of RFC 4787, section
/// 4.3. `idle_timeout` shortens or lengthens it.
const IDLE: Duration = Duration::from_secs(300);

/// The largest datagram of UDP, with the largest header of SOCKS5.
const LARGEST: usize = (64 << 10) + 262;

/// As many targets are remembered; a client that has more pays a question to tailscaled for each datagram.
const REMEMBERED: usize = 256;

/// Serves the association until the client ends its connection, or is idle.
pub(super) async fn serve<D: Dial>(proxy: &Proxy<D>, mut control: Stream, socket: UdpSocket) {
    let Some(client) = control.peer_ip() else { return };
    let mut datagrams = Datagrams {
        proxy,
        socket,
        client,
        port: None,
        headers: HashMap::new(),
        buffer: vec![0; LARGEST],
        carried: Carried::within(&proxy.counters),
        open: None,
    };
    tokio::select! {
        () = ended(&mut control) => {}
        result = datagrams.carry() => {
            if let Err(error) = result {
                datagrams.broke(&error);
            }
        }
        () = proxy.patience.draining.cancelled() => {}
    }
}

/// The target of a request or of a datagram.
pub(super) fn target(target: TargetAddr) -> Target {
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

struct Datagrams<'a, D> {
    proxy: &'a Proxy<D>,
    /// Faces the client.
    socket: UdpSocket,
    client: IpAddr,
    /// The client's port, by its first datagram.
    port: Option<u16>,
    /// For each target the header to send its datagrams on with, or why they may not be sent.
    headers: HashMap<Target, Result<Vec<u8>, Outcome>>,
    buffer: Vec<u8>,
    carried: Carried,
    /// Counts it from the time when tailscaled has its part of it.
    open: Option<Open>,
}

impl<D: Dial> Datagrams<'_, D> {
    /// Carries datagrams until the association is idle. One that breaks because tailscaled restarts is made anew.
    async fn carry(&mut self) -> io::Result<()> {
        let idle = self.proxy.patience.idle.unwrap_or(IDLE);
        let mut deadline = Instant::now() + idle;
        loop {
            let Association { mut control, relay } =
                self.proxy.connector.associate().await.map_err(io::Error::other)?;
            self.open.get_or_insert_with(|| self.proxy.counters.associated());
            let far = UdpSocket::bind((relay.ip(), 0)).await?;
            far.connect(relay).await?;
            // The route to a target may be another one now.
            self.headers.clear();
            let mut back = vec![0; LARGEST];
            let mut broken = std::pin::pin!(ended(&mut control));
            loop {
                tokio::select! {
                    received = self.socket.recv_from(&mut self.buffer) => {
                        let (length, from) = received?;
                        if self.send_on(length, from, &far).await {
                            deadline = Instant::now() + idle;
                        }
                    }
                    Ok(length) = far.recv(&mut back) => {
                        self.send_back(&back[..length]).await;
                        deadline = Instant::now() + idle;
                    }
                    () = &mut broken => break,
                    () = sleep_until(deadline) => return Ok(()),
                }
            }
        }
    }

    fn broke(&self, error: &io::Error) {
        let (client, reason) = (self.client.to_string(), format!("UDP association: {error}"));
        match self.open {
            Some(_) => tracing::info!(client, reason, "association broke"),
            None => self.proxy.unserved(&client, Protocol::Socks5Udp, Outcome::Failed, &reason),
        }
    }

    /// Sends the client's datagram on; whether it was one to be sent.
    async fn send_on(&mut self, length: usize, from: SocketAddr, far: &UdpSocket) -> bool {
        if from.ip().to_canonical() != self.client.to_canonical() || self.port.is_some_and(|port| port != from.port()) {
            return false;
        }
        let datagram = self.buffer[..length].to_vec();
        let Ok((0, addressed, payload)) = parse_udp_request(&datagram).await else { return false };
        self.port = Some(from.port());
        let Some(header) = self.header(target(addressed)).await else { return false };
        let sent = far.send(&[header, payload].concat()).await.is_ok();
        self.carried.sent.add(payload.len());
        sent
    }

    /// The header that leads datagrams to `target`. Only what the rules say of it is remembered: anything else may be
    /// another thing with the next datagram.
    async fn header(&mut self, target: Target) -> Option<&[u8]> {
        if !self.headers.contains_key(&target) {
            let header = match self.proxy.connector.judge_datagram(&target).await {
                Ok(judged) => new_udp_header(address_of(&judged)).map_err(|_| Outcome::Malformed),
                Err(error) => {
                    tracing::info!(client = %self.client, %target, %error, "datagram not sent on");
                    Err(Outcome::from(&error))
                }
            };
            if !matches!(header, Ok(_) | Err(Outcome::Policy)) {
                return None;
            }
            if self.headers.len() >= REMEMBERED {
                self.headers.clear();
            }
            self.headers.insert(target.clone(), header);
        }
        match self.headers.get(&target)? {
            Ok(header) => Some(header),
            Err(outcome) => {
                self.proxy.counters.dropped(*outcome);
                None
            }
        }
    }

    async fn send_back(&mut self, datagram: &[u8]) {
        let Some(port) = self.port else { return };
        // Lost like any datagram where the client does not listen any more.
        let _ = self.socket.send_to(datagram, (self.client, port)).await;
        self.carried.received.add(datagram.len());
    }
}

fn address_of(target: &Target) -> TargetAddr {
    match &target.host {
        Host::Ip(address) => TargetAddr::Ip((*address, target.port).into()),
        Host::Name(name) => TargetAddr::Domain(name.clone(), target.port),
    }
}
