//! Gets a client its connection: waits until the tailnet is there, dials, dials a second time beside a silent first
//! one, directly where that is right, and again when tailscaled or the path went away meanwhile. One deadline covers
//! it all.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::body::Bytes;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::beside::{Heard, dial_beside};
use super::deadline::{Deadline, RETRY, wait_until_dialable};
use super::direct::dial_directly;
use super::judge::{Judge, Judged};
use super::policy::{Policy, judge_unknown};
use crate::dial::{Association, Dial, DialError, Dialled, Host, Route, Target};
use crate::local_stream::LocalStream;
use crate::state::Watcher;

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
        let deadline = self.deadline();
        let judge = self.judge(deadline);
        judge.as_given(target).await?;
        let place = judge.place(target).await?;
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
                deadline.by("dialling directly", dial_directly(address)).await.map(Connection::Direct)
            }
        }
    }

    /// Opens an association for datagrams, as soon as the tailnet is there.
    pub async fn associate(&self) -> Result<Association, DialError> {
        let associated = async {
            loop {
                wait_until_dialable(&self.state).await?;
                match self.dial.associate().await {
                    Err(DialError::Tailscaled(_)) => sleep(RETRY).await,
                    result => return result,
                }
            }
        };
        self.deadline().by("opening a UDP association", associated).await
    }

    /// Judges the target of a datagram. The answer is where to send it: what was judged is what is reached.
    pub async fn judge_datagram(&self, target: &Target) -> Result<Target, DialError> {
        let deadline = self.deadline();
        let judge = self.judge(deadline);
        judge.as_given(target).await?;
        let place = judge.place(target).await?;
        let judged = match &place {
            Some(Judged::Outside(outside)) => &Target::from(*outside),
            Some(Judged::Tailnet(addresses)) => addresses.first().unwrap_or(target),
            None => target,
        };
        let route = self.dial.route_datagrams(judged);
        match deadline.by("looking for the way of a datagram", route).await? {
            Route::Outside(outside) => self.policy.judge_outside(target, outside).map(|()| outside.into()),
            Route::Tailnet if place.is_none() => self.policy.judge_unseen(target).map(|()| target.clone()),
            Route::Tailnet => Ok(judged.clone()),
        }
    }

    /// Dials one address after the other: the next one when one fails, or beside it when it is silent for a while.
    async fn dial_first_of(&self, addresses: &[Target], deadline: Deadline<'_>) -> Result<Dialled, DialError> {
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

    async fn dial_when_ready(&self, target: &Target, deadline: Deadline<'_>) -> Result<Dialled, DialError> {
        loop {
            deadline.ready().await?;
            let error = match deadline.by("no answer through the tailnet", self.dial_beside(target)).await {
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
            if !is_of_the_path || !deadline.leaves_a_retry() {
                return Err(unless_unknown(target, error));
            }
            tracing::debug!(%target, %error, "dialling again");
            sleep(RETRY).await;
        }
    }

    fn deadline(&self) -> Deadline<'_> {
        Deadline::new(&self.state, self.timeout)
    }

    fn judge<'a>(&'a self, deadline: Deadline<'a>) -> Judge<'a, D> {
        Judge { dial: &self.dial, policy: &self.policy, deadline, observe: &*self.observe }
    }

    async fn dial_beside(&self, target: &Target) -> Result<Dialled, DialError> {
        dial_beside(|| self.dial.dial(target), || self.age(), &self.observe).await
    }

    fn age(&self) -> Duration {
        self.state.borrow().entered.elapsed()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Direct;
    use crate::dial::Place;
    use crate::state::{Phase, Publisher};
    use std::net::SocketAddr;
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
}
