//! UDP ASSOCIATE (RFC 1928, section 7): carries the datagrams of one client.
//!
//! tailscaled carries each one that the policy allows. Only the associating client is served; fragments are dropped, as
//! the RFC allows. An association is no target of others: it would take their datagrams for its client's.

pub(crate) mod client;
pub(crate) mod owner;
pub(crate) mod routes;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{new_udp_header, parse_udp_request};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UdpSocket;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::types::enums::AccessLog;
use crate::proxy::access_log::{ConnectionRecord, Failure, Success};
use crate::proxy::connect::deadline::RETRY;
use crate::proxy::context::ProxyContext;
use crate::proxy::listener::client::Client;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::counters::OpenGuard;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::policy::Policy;
use crate::proxy::policy::own_listeners::OwnAssociation;
use crate::proxy::relay::traffic::Traffic;
use crate::proxy::socks5::address::target_at;
use crate::proxy::socks5::udp::client::UdpClient;
use crate::proxy::socks5::udp::owner::SocketOwner;
use crate::proxy::socks5::udp::routes::{FlowRoute, FlowRoutes};
use crate::target::datagrams::Datagrams;
use crate::target::dial::Dial;
use crate::target::host::Target;

/// An association without datagrams in either direction for this time ends: the recommendation of RFC 4787, section
/// 4.3. `idle_timeout` shortens or lengthens it.
pub const IDLE: Duration = Duration::from_secs(300);

/// The largest datagram of UDP, with the largest header of SOCKS5.
const LARGEST: usize = (64 << 10) + 262;

/// The socket that faces a client, and where the client's datagrams are to come from.
#[derive(Debug)]
pub struct UdpSession {
    socket: UdpSocket,
    client: UdpClient,
    _own: OwnAssociation,
}

/// Opens the socket where the client is known to reach this machine, in the client's own family, and returns its
/// address as well. `stated` is where a balancer says that the client is, `announced` where the client says that it will send
/// from.
pub async fn open_session(
    client: &Stream,
    stated: Option<IpAddr>,
    announced: &Target,
    policy: &Policy,
) -> io::Result<(UdpSession, SocketAddr)> {
    let local = client.local_ip().ok_or(io::ErrorKind::AddrNotAvailable)?.to_canonical();
    let peer = stated.or_else(|| client.peer_ip()).ok_or(io::ErrorKind::AddrNotAvailable)?.to_canonical();
    let socket = UdpSocket::bind((local, 0)).await?;
    let bound = socket.local_addr()?;
    // The connection of a client behind a balancer is the balancer's.
    let addresses = client.addresses().filter(|_| stated.is_none());
    let owner = addresses.map_or(Ok(None), |addresses| SocketOwner::of_client(addresses, bound))?;
    let client = UdpClient::new(peer, announced, owner);
    Ok((UdpSession { socket, client, _own: policy.add_association(bound) }, bound))
}

/// Serves the association until the client ends its connection, it is idle, or the daemon drains.
pub async fn serve_association<D: Dial>(
    context: &ProxyContext<D>,
    client: &Client,
    mut control: Stream,
    session: UdpSession,
) {
    let mut association = Association {
        context,
        client,
        session,
        routes: FlowRoutes::default(),
        traffic: Arc::new(Traffic::within(&context.counters)),
        open: None,
    };
    tokio::select! {
        () = ended(&mut control) => {}
        result = association.carry() => {
            if let Err(error) = result {
                association.record_failure(&error);
            }
        }
        () = context.limits.draining.cancelled() => {}
    }
}

/// Returns when the client has ended its TCP connection. What it sends over that connection has no meaning, and is
/// dropped.
async fn ended(control: &mut (impl AsyncRead + Unpin)) {
    let mut ignored = [0; 64];
    while control.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

/// Counts an association that tailscaled carries, and begins its record.
fn opened<D: Dial>(
    context: &ProxyContext<D>,
    client: &Client,
    traffic: &Arc<Traffic>,
) -> (OpenGuard, ConnectionRecord) {
    let success = Success { protocol: Protocol::Socks5Udp, target: None, path: None, connect: None, reply: Some(0) };
    let mut record = context.record_success(client, &success);
    record.counted_by(traffic);
    (context.counters.association_opened(), record)
}

struct Association<'a, D> {
    context: &'a ProxyContext<D>,
    client: &'a Client,
    session: UdpSession,
    routes: FlowRoutes,
    traffic: Arc<Traffic>,
    /// Counts the association from the time when tailscaled carries its datagrams.
    open: Option<(OpenGuard, ConnectionRecord)>,
}

impl<D: Dial> Association<'_, D> {
    /// Carries datagrams until the association is idle. When tailscaled restarts, its part of the association is opened
    /// anew.
    async fn carry(&mut self) -> io::Result<()> {
        let idle = self.context.limits.idle.unwrap_or(IDLE);
        let mut deadline = Instant::now() + idle;
        let (mut from_client, mut from_targets) = (vec![0; LARGEST], vec![0; LARGEST]);
        loop {
            let datagrams = self.context.connector.associate().await.map_err(io::Error::other)?;
            self.open.get_or_insert_with(|| opened(self.context, self.client, &self.traffic));
            // Another tailscaled may have other routes.
            self.routes.clear();
            loop {
                tokio::select! {
                    received = self.session.socket.recv_from(&mut from_client) => {
                        let (length, from) = received?;
                        if self.forward(&from_client[..length], from, &datagrams).await {
                            deadline = Instant::now() + idle;
                        }
                    }
                    received = datagrams.receive(&mut from_targets) => {
                        let Some((source, payload)) = received else { break };
                        self.send_back(source, payload).await;
                        deadline = Instant::now() + idle;
                    }
                    // After a freeze a datagram may have come at the same time; the event loop learns of it in its next turn.
                    () = sleep_until(deadline) => {
                        yield_now().await;
                        if self.session.socket.readable().now_or_never().is_none() {
                            return Ok(());
                        }
                    }
                }
            }
            // A tailscaled that has no file left ends an association as soon as it is opened.
            sleep(RETRY).await;
        }
    }

    fn record_failure(&self, error: &io::Error) {
        let reason = format!("UDP association: {error}");
        match self.open {
            Some(_) => tracing::info!(client = %self.session.client.peer, reason, "association broke"),
            None => {
                let failure = Failure::of_handshake(Protocol::Socks5Udp, Outcome::Failed, &reason);
                self.context.record_failure(self.client, &failure);
            }
        }
    }

    /// Forwards a datagram to its target. Returns whether the datagram came from the client and was allowed.
    async fn forward(&mut self, datagram: &[u8], from: SocketAddr, datagrams: &Datagrams) -> bool {
        if !self.session.client.sends_from(from) {
            return false;
        }
        let Ok((0, address, payload)) = parse_udp_request(datagram).await else { return false };
        self.session.client.socket = Some(from);
        let Ok(target) = target_at(address) else { return false };
        let Some(FlowRoute { network, address }) = self.route(target).await else { return false };
        if datagrams.send(network, address, payload).is_ok() {
            self.traffic.sent.add(payload.len());
        }
        true
    }

    /// Returns the route to `target`; `None` where there is none.
    async fn route(&mut self, target: Target) -> Option<FlowRoute> {
        match self.context.renew_user(self.client) {
            Ok(false) => {}
            // Other rules count for targets of before, too.
            Ok(true) => self.routes.clear(),
            Err(_) => {
                self.context.record_dropped_datagram(self.client, Outcome::Unauthorized);
                return None;
            }
        }
        let route = match self.routes.get(&target) {
            Some(route) => route,
            None => self.resolve(target).await?,
        };
        // An association may have been opened there since the route was found.
        let is_own = |route: &FlowRoute| self.context.connector.policy().leads_to_association(route.address);
        let route = route.and_then(|route| if is_own(&route) { Err(Outcome::Policy) } else { Ok(route) });
        route.inspect_err(|outcome| self.context.record_dropped_datagram(self.client, *outcome)).ok()
    }

    /// Finds the route to `target`. Only a route, or a refusal by the policy, is remembered and returned: any other
    /// failure may be over at the next datagram.
    async fn resolve(&mut self, target: Target) -> Option<Result<FlowRoute, Outcome>> {
        let route = match self.context.connector.resolve_datagram(&self.client.access(), &target).await {
            Ok((network, address)) => Ok(FlowRoute { network, address }),
            Err(error) => {
                if self.context.access_log != AccessLog::Off {
                    let user = self.client.user();
                    let user = user.as_deref().map(|user| &*user.name);
                    tracing::info!(client = %self.session.client.peer, user, %target, %error, "datagram not sent on");
                }
                Err(Outcome::from(&error))
            }
        };
        if !matches!(route, Ok(_) | Err(Outcome::Policy)) {
            return None;
        }
        self.routes.insert(target, route);
        Some(route)
    }

    /// Sends a target's datagram to the client.
    async fn send_back(&mut self, source: SocketAddr, payload: &[u8]) {
        let UdpSession { socket, client, .. } = &self.session;
        let (Some(client), Ok(header)) = (client.socket, new_udp_header(TargetAddr::Ip(source))) else { return };
        // Lost like any datagram where the client does not listen any more.
        let _ = socket.send_to(&[&header, payload].concat(), client).await;
        self.traffic.received.add(payload.len());
    }
}
