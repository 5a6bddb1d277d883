//! Gets a client its connection: waits until the tailnet is there, dials, dials a second time beside a silent first
//! one, directly where that is right, and again when tailscaled or the path went away meanwhile. One deadline covers
//! it all.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::body::Bytes;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::beside::{Heard, dial_beside};
use super::policy::{Policy, judge_unknown};
use crate::dial::{Association, Dial, DialError, Dialled, Host, Place, Route, Target};
use crate::local_stream::LocalStream;
use crate::state::{Phase, Watcher};

/// tailscaled that has just ended is noticed within milliseconds; until then its socket is tried again at this pace.
const RETRY: Duration = Duration::from_millis(20);

/// So long after its start tailscaled may not have heard of every node.
const KNOWS_NODES_AFTER: Duration = Duration::from_secs(1);

/// Between the dials to several addresses of one name: as tailscaled and Go have it (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// A connection to a target.
#[derive(Debug)]
pub enum Connection {
    /// tailscaled ends both directions as soon as one ends.
    Tailnet(LocalStream, Bytes),
    Direct(TcpStream),
}

/// What a name stands for, and may be reached.
enum Judged {
    /// At least one.
    Tailnet(Vec<Target>),
    Outside(SocketAddr),
}

/// Connects clients to targets.
pub struct Connector<D> {
    dial: D,
    policy: Policy,
    state: Watcher,
    timeout: Duration,
    observe: Box<dyn Fn(Heard) + Send + Sync>,
}

impl<D: Dial> Connector<D> {
    /// `timeout` covers waiting and dialling together; `observe` hears how dials through the tailnet end.
    pub fn new(
        dial: D,
        policy: Policy,
        state: Watcher,
        timeout: Duration,
        observe: impl Fn(Heard) + Send + Sync + 'static,
    ) -> Self {
        Self { dial, policy, state, timeout, observe: Box::new(observe) }
    }

    /// A connection to `target`, or the reason why there is none.
    pub async fn connect(&self, target: &Target) -> Result<Connection, DialError> {
        let deadline = Instant::now() + self.timeout;
        self.judge_as_given(target, deadline).await?;
        let place = self.judged_place(target, deadline).await?;
        let dialled = match &place {
            Some(Judged::Outside(address)) => Dialled::Outside(*address),
            Some(Judged::Tailnet(addresses)) => self.dial_first_of(addresses, deadline).await?,
            None => self.dial_when_ready(target, deadline).await?,
        };
        match dialled {
            Dialled::Tailnet(stream, early) => {
                if place.is_none() {
                    self.policy.judge_unseen(target)?;
                }
                Ok(Connection::Tailnet(stream, early))
            }
            Dialled::Outside(address) => {
                self.policy.judge_outside(target, address)?;
                self.by(deadline, "dialling directly", dial_directly(address)).await
            }
        }
    }

    /// Opens an association for datagrams, as soon as the tailnet is there.
    pub async fn associate(&self) -> Result<Association, DialError> {
        let deadline = Instant::now() + self.timeout;
        let mut state = self.state.clone();
        let associated = async {
            loop {
                wait_until_dialable(&mut state).await?;
                match self.dial.associate().await {
                    Err(DialError::Tailscaled(_)) => sleep(RETRY).await,
                    result => return result,
                }
            }
        };
        self.by(deadline, "opening a UDP association", associated).await
    }

    /// Judges the target of a datagram. The answer is where to send it: what was judged is what is reached.
    pub async fn judge_datagram(&self, target: &Target) -> Result<Target, DialError> {
        let deadline = Instant::now() + self.timeout;
        self.judge_as_given(target, deadline).await?;
        let place = self.judged_place(target, deadline).await?;
        let judged = match &place {
            Some(Judged::Outside(outside)) => &Target::from(*outside),
            Some(Judged::Tailnet(addresses)) => addresses.first().unwrap_or(target),
            None => target,
        };
        let route = self.dial.route_datagrams(judged);
        match self.by(deadline, "looking for the way of a datagram", route).await? {
            Route::Outside(outside) => self.policy.judge_outside(target, outside).map(|()| outside.into()),
            Route::Tailnet if place.is_none() => self.policy.judge_unseen(target).map(|()| target.clone()),
            Route::Tailnet => Ok(judged.clone()),
        }
    }

    /// A node has two names, one of them with the tailnet's domain: a rule about either is about the node.
    async fn judge_as_given(&self, target: &Target, deadline: Instant) -> Result<(), DialError> {
        if matches!(target.host, Host::Name(_)) && self.policy.has_rules_about_names() {
            let mut state = self.state.clone();
            loop {
                self.ready(&mut state, deadline).await?;
                match self.by(deadline, "asking for the tailnet's domain", self.dial.domain()).await {
                    Err(DialError::Tailscaled(_)) => sleep(RETRY).await,
                    domain => break self.policy.learn_domain(domain?),
                }
            }
        }
        self.policy.judge_target(target)
    }

    /// Where the target is a name: what to dial instead, so that what was judged is what is reached. A name of others may
    /// stand for several addresses, and for other ones the next time it is asked for. `None` where tailscaled is to be
    /// given the target as it is.
    async fn judged_place(&self, target: &Target, deadline: Instant) -> Result<Option<Judged>, DialError> {
        let Host::Name(_) = target.host else { return Ok(None) };
        let mut state = self.state.clone();
        let located = loop {
            self.ready(&mut state, deadline).await?;
            let located = self.dial.locate(target, self.policy.needs_addresses());
            match self.by(deadline, "looking up the name", located).await {
                Err(DialError::Tailscaled(_)) => sleep(RETRY).await,
                Err(error @ DialError::TimedOut(_)) => {
                    (self.observe)(Heard::Silence);
                    return Err(error);
                }
                result => break result?,
            }
        };
        match located {
            Place::Name => Ok(None),
            Place::Outside(address) => {
                self.policy.judge_outside(target, address).map(|()| Some(Judged::Outside(address)))
            }
            Place::Tailnet(addresses) => self.allowed(target, &addresses).map(Some),
        }
    }

    fn allowed(&self, target: &Target, addresses: &[IpAddr]) -> Result<Judged, DialError> {
        let mut refusal = DialError::Host(format!("{target} has no address"));
        let mut allowed = Vec::new();
        for address in addresses {
            match self.policy.judge_address(target, *address) {
                Ok(()) => allowed.push(Target { host: Host::Ip(*address), port: target.port }),
                // Another address of a host that is denied is no way around it.
                Err(error) if self.policy.denies(*address, target.port) => return Err(error),
                Err(error) => refusal = error,
            }
        }
        if allowed.is_empty() { Err(refusal) } else { Ok(Judged::Tailnet(allowed)) }
    }

    /// Dials one address after the other: the next one when one fails, or beside it when it is silent for a while.
    async fn dial_first_of(&self, addresses: &[Target], deadline: Instant) -> Result<Dialled, DialError> {
        let mut failure = DialError::Host("the name has no address".into());
        let mut dials = FuturesUnordered::new();
        for address in addresses {
            dials.push(self.dial_when_ready(address, deadline));
            match timeout(NEXT_ADDRESS_AFTER, dials.next()).await {
                Ok(Some(Ok(dialled))) => return Ok(dialled),
                Ok(Some(Err(error))) => failure = error,
                Ok(None) | Err(_) => {}
            }
        }
        while let Some(result) = dials.next().await {
            match result {
                Ok(dialled) => return Ok(dialled),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Ends when a dial makes sense, or with the reason why none does by the deadline.
    async fn ready(&self, state: &mut Watcher, deadline: Instant) -> Result<(), DialError> {
        let ready = timeout_at(deadline, wait_until_dialable(state)).await;
        ready.unwrap_or_else(|_| Err(self.too_late(&why_waiting(state))))
    }

    async fn dial_when_ready(&self, target: &Target, deadline: Instant) -> Result<Dialled, DialError> {
        let mut state = self.state.clone();
        loop {
            self.ready(&mut state, deadline).await?;
            let error = match self.by(deadline, "no answer through the tailnet", self.dial_beside(target)).await {
                Ok(dialled) => {
                    if matches!(dialled, Dialled::Tailnet(..)) {
                        (self.observe)(Heard::Answer);
                    }
                    return Ok(dialled);
                }
                Err(error) => error,
            };
            match error {
                DialError::Refused => (self.observe)(Heard::Answer),
                DialError::TimedOut(_) => (self.observe)(Heard::Silence),
                _ => {}
            }
            // A tailscaled that has just started may not know all nodes yet.
            let unknown_yet = self.age() < KNOWS_NODES_AFTER && is_unknown(target, &error);
            let is_of_the_path = matches!(error, DialError::TimedOut(_) | DialError::Tailscaled(_)) || unknown_yet;
            if !is_of_the_path || Instant::now() + RETRY >= deadline {
                return Err(unless_unknown(target, error));
            }
            tracing::debug!(%target, %error, "dialling again");
            sleep(RETRY).await;
        }
    }

    async fn dial_beside(&self, target: &Target) -> Result<Dialled, DialError> {
        dial_beside(|| self.dial.dial(target), || self.age(), &self.observe).await
    }

    fn age(&self) -> Duration {
        self.state.borrow().entered.elapsed()
    }

    /// Lets `step` finish by the deadline; `doing` says in the error what took too long.
    async fn by<T>(
        &self,
        deadline: Instant,
        doing: &str,
        step: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        timeout_at(deadline, step).await.unwrap_or_else(|_| Err(self.too_late(doing)))
    }

    fn too_late(&self, doing: &str) -> DialError {
        DialError::TimedOut(format!("{doing} after {}", humantime::format_duration(self.timeout)))
    }
}

/// tailscaled finds no way to a tailnet address that no node has; the policy refuses such addresses wherever they
/// turn up.
fn unless_unknown(target: &Target, error: DialError) -> DialError {
    match &target.host {
        Host::Ip(address) if is_unknown(target, &error) => judge_unknown(*address).err().unwrap_or(error),
        _ => error,
    }
}

fn is_unknown(target: &Target, error: &DialError) -> bool {
    let Host::Ip(address) = target.host else { return false };
    matches!(error, DialError::Network(_) | DialError::Host(_)) && judge_unknown(address).is_err()
}

/// Ends when a dial makes sense. A draining daemon's tailscaled still works for connections that were there before.
async fn wait_until_dialable(state: &mut Watcher) -> Result<(), DialError> {
    let gone = || DialError::Network("tetherd is stopping".into());
    let now = state.wait_for(|state| state.dialable || state.is_ending()).await.map_err(|_| gone())?;
    match now.phase {
        Phase::Failed => Err(DialError::Network(now.reason.clone())),
        Phase::Draining if now.time_to_ready.is_none() => Err(gone()),
        _ => Ok(()),
    }
}

fn why_waiting(state: &Watcher) -> String {
    let state = state.borrow();
    format!("the tailnet is not ready ({:?}: {})", state.phase, state.reason)
}

async fn dial_directly(address: SocketAddr) -> Result<Connection, DialError> {
    let text = |error: &std::io::Error| format!("{address}: {error}");
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => DialError::Refused,
        ErrorKind::TimedOut => DialError::TimedOut(text(&error)),
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable | ErrorKind::NetworkDown => {
            DialError::Network(text(&error))
        }
        ErrorKind::HostUnreachable => DialError::Host(text(&error)),
        _ => DialError::Other(text(&error)),
    })?;
    // Small messages must not wait for the next ones.
    let _ = stream.set_nodelay(true);
    Ok(Connection::Direct(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Direct;
    use crate::state::Publisher;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails as tailscaled does while it ends, as often as told, then names an address outside.
    struct Ending(AtomicU32, SocketAddr);

    impl Dial for Ending {
        async fn dial(&self, _: &Target) -> Result<Dialled, DialError> {
            match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Err(DialError::Tailscaled("connection reset".into())),
                Err(_) => Ok(Dialled::Outside(self.1)),
            }
        }

        async fn domain(&self) -> Result<String, DialError> {
            Ok(String::new())
        }

        async fn locate(&self, _: &Target, _: bool) -> Result<Place, DialError> {
            Ok(Place::Name)
        }

        async fn route_datagrams(&self, _: &Target) -> Result<Route, DialError> {
            Ok(Route::Tailnet)
        }

        async fn associate(&self) -> Result<Association, DialError> {
            Err(DialError::Refused)
        }
    }

    fn connector(failures: u32, outside: &str, publisher: &Publisher, timeout: Duration) -> Connector<Ending> {
        let dial = Ending(AtomicU32::new(failures), outside.parse().expect("address"));
        Connector::new(dial, Policy::new(Direct::Allow, Vec::new(), Vec::new()), publisher.watch(), timeout, |_| {})
    }

    fn target() -> Target {
        Target::new("web", 80)
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_connection_that_comes_early_waits_and_times_out_with_the_reason() {
        let publisher = Publisher::new();
        let connector = connector(0, "127.0.0.1:1", &publisher, Duration::from_secs(3));
        let started = Instant::now();
        let error = connector.connect(&target()).await.expect_err("is not ready");
        assert!(matches!(&error, DialError::TimedOut(text) if text.contains("tailscaled is starting")), "{error}");
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_dial_that_meets_an_ending_tailscaled_is_repeated() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Ready, "joined");
        let connector = connector(3, "169.254.169.254:80", &publisher, Duration::from_secs(3));
        let error = connector.connect(&target()).await.expect_err("is refused");
        assert!(matches!(error, DialError::Policy(_)), "{error}");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn repeating_ends_at_the_deadline() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Ready, "joined");
        let connector = connector(u32::MAX, "127.0.0.1:1", &publisher, Duration::from_millis(100));
        let error = connector.connect(&target()).await.expect_err("never answers");
        assert!(matches!(error, DialError::Tailscaled(_)), "{error}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_failed_daemon_keeps_nobody_waiting() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Failed, "no tailscaled");
        let connector = connector(0, "127.0.0.1:1", &publisher, Duration::from_secs(60));
        let error = connector.connect(&target()).await.expect_err("has failed");
        assert!(matches!(error, DialError::Network(_)), "{error}");
    }
}
