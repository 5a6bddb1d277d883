//! A UDP port of `forwards`: each local source is a flow to the one target.
//!
//! Each source is a flow with an association of its own in tailscaled, so that answers come back to who asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::types::enums::AccessLog;
use crate::net::failed_accepts::FailedAccepts;
use crate::proxy::connect::deadline::RETRY;
use crate::proxy::context::ProxyContext;
use crate::proxy::metrics::labels::Outcome;
use crate::proxy::policy::access::Access;
use crate::proxy::relay::traffic::Traffic;
use crate::proxy::socks5::udp::IDLE;
use crate::proxy::socks5::udp::routes::{FlowRoute, FlowRoutes};
use crate::target::datagrams::Datagrams;
use crate::target::dial::{Dial, DialError};
use crate::target::host::Target;

/// Most flows of one port at the same time, as many as an association has targets. Beyond it the one that was silent longest ends.
pub const MOST_FLOWS: usize = 256;
/// Datagrams of one flow that wait for the tailnet; further ones are lost.
const MOST_WAITING: usize = 64;
/// The largest datagram of UDP.
const LARGEST: usize = 64 << 10;

/// Carries what comes to `socket` to `target`, until the daemon drains.
pub async fn serve_udp_forward<D: Dial>(context: Arc<ProxyContext<D>>, socket: UdpSocket, target: Target) {
    let draining = context.limits.draining.clone();
    let forward = Arc::new(UdpForward { context, socket, target });
    tokio::select! {
        () = accept_datagrams(&forward) => {}
        () = draining.cancelled() => {}
    }
}

/// One port, and where it leads.
struct UdpForward<D> {
    context: Arc<ProxyContext<D>>,
    socket: UdpSocket,
    target: Target,
}

/// A source that has a flow.
struct Source {
    datagrams: mpsc::Sender<Vec<u8>>,
    heard: Instant,
}

async fn accept_datagrams<D: Dial>(forward: &Arc<UdpForward<D>>) {
    let mut sources: HashMap<SocketAddr, Source> = HashMap::new();
    let mut flows = JoinSet::new();
    let mut failed = FailedAccepts::default();
    let mut datagram = vec![0; LARGEST];
    loop {
        tokio::select! {
            received = forward.socket.recv_from(&mut datagram) => match received {
                Ok((length, from)) => {
                    // One whose flow has just ended begins anew.
                    if sources.get(&from).is_some_and(|source| source.datagrams.is_closed()) {
                        sources.remove(&from);
                    }
                    let source = sources.entry(from).or_insert_with(|| {
                        let (sender, receiver) = mpsc::channel(MOST_WAITING);
                        flows.spawn(flow(Arc::clone(forward), from, receiver));
                        Source { datagrams: sender, heard: Instant::now() }
                    });
                    source.heard = Instant::now();
                    // Lost where too many wait, like any datagram.
                    let _ = source.datagrams.try_send(datagram[..length].to_vec());
                    end_one_of_too_many(&mut sources);
                }
                Err(error) => failed.pause(&error, "datagram").await,
            },
            Some(Ok(ended)) = flows.join_next() => {
                // A new flow of the same source may have begun.
                if sources.get(&ended).is_some_and(|source| source.datagrams.is_closed()) {
                    sources.remove(&ended);
                }
            }
        }
    }
}

/// Ends the flow that was silent longest, where there are too many: its sender is dropped.
fn end_one_of_too_many(sources: &mut HashMap<SocketAddr, Source>) {
    if sources.len() <= MOST_FLOWS {
        return;
    }
    let oldest = sources.iter().min_by_key(|(_, source)| source.heard).map(|(from, _)| *from);
    oldest.and_then(|from| sources.remove(&from));
}

/// Carries the datagrams of one source until it is idle. Returns the source.
async fn flow<D: Dial>(forward: Arc<UdpForward<D>>, from: SocketAddr, waiting: mpsc::Receiver<Vec<u8>>) -> SocketAddr {
    let traffic = Traffic::within(&forward.context.counters);
    let flow = Flow { forward: &forward, from, routes: FlowRoutes::default(), sent_to: None, traffic: &traffic };
    if let Err(error) = flow.carry(waiting).await {
        forward.log(from, &error);
    }
    from
}

struct Flow<'a, D> {
    forward: &'a UdpForward<D>,
    from: SocketAddr,
    routes: FlowRoutes,
    /// Where the last datagram went.
    sent_to: Option<SocketAddr>,
    traffic: &'a Traffic,
}

impl<D: Dial> Flow<'_, D> {
    async fn carry(mut self, mut waiting: mpsc::Receiver<Vec<u8>>) -> Result<(), DialError> {
        let context = &self.forward.context;
        let idle = context.limits.idle.unwrap_or(IDLE);
        let mut deadline = Instant::now() + idle;
        let mut from_target = vec![0; LARGEST];
        let _open = context.counters.association_opened();
        loop {
            let datagrams = context.connector.associate().await?;
            // Another tailscaled may have other routes.
            self.routes.clear();
            loop {
                tokio::select! {
                    datagram = waiting.recv() => {
                        let Some(datagram) = datagram else { return Ok(()) };
                        self.send(&datagram, &datagrams).await;
                        deadline = Instant::now() + idle;
                    }
                    received = datagrams.receive(&mut from_target) => {
                        let Some((source, payload)) = received else { break };
                        if self.send_back(source, payload).await {
                            deadline = Instant::now() + idle;
                        }
                    }
                    // After a freeze a datagram may have come at the same time.
                    () = sleep_until(deadline) => if waiting.is_empty() { return Ok(()) },
                }
            }
            // tailscaled has ended; it is asked again when it is back.
            sleep(RETRY).await;
        }
    }

    async fn send(&mut self, payload: &[u8], datagrams: &Datagrams) {
        let Some(FlowRoute { network, address }) = self.route().await else { return };
        self.sent_to = Some(address);
        if datagrams.send(network, address, payload).is_ok() {
            self.traffic.sent.add(payload.len());
        }
    }

    /// Returns the route to the target; `None` where there is none, which is logged when it is found out.
    async fn route(&mut self) -> Option<FlowRoute> {
        let (context, target) = (&self.forward.context, &self.forward.target);
        let known = self.routes.get(target);
        let route = match known {
            Some(route) => route,
            None => {
                let found = context.connector.resolve_datagram(&Access::default(), target).await;
                let route = found.map(|(network, address)| FlowRoute { network, address }).map_err(|error| {
                    self.forward.log(self.from, &error);
                    Outcome::from(&error)
                });
                self.routes.insert(target.clone(), route);
                route
            }
        };
        let leads_to_association = |route: &FlowRoute| context.connector.policy().leads_to_association(route.address);
        let route = route.and_then(|route| if leads_to_association(&route) { Err(Outcome::Policy) } else { Ok(route) });
        route.inspect_err(|outcome| context.counters.datagram_dropped(*outcome)).ok()
    }

    /// Sends what the target has answered to the source. Whether it came from the target.
    async fn send_back(&self, source: SocketAddr, payload: &[u8]) -> bool {
        let is_target = self.sent_to == Some(source);
        if is_target && self.forward.socket.send_to(payload, self.from).await.is_ok() {
            self.traffic.received.add(payload.len());
        }
        is_target
    }
}

impl<D: Dial> UdpForward<D> {
    fn log(&self, from: SocketAddr, error: &DialError) {
        if self.context.access_log != AccessLog::Off {
            tracing::info!(client = %from.ip(), target = %self.target, %error, "datagram not sent on");
        }
    }
}
