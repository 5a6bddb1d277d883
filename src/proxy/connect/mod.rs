//! Gets a client its connection: waits until the tailnet is there, looks the name up, dials, dials a second time beside a
//! silent first one, directly where that is right, and again when tailscaled or the path went away meanwhile. One deadline
//! covers it all.

pub(crate) mod deadline;
pub(crate) mod direct;
pub(crate) mod hedge;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::proxy::connect::deadline::{Deadline, RETRY, wait_until_dialable};
use crate::proxy::connect::direct::dial_directly;
use crate::proxy::connect::hedge::{DialSignal, dial_hedged};
use crate::proxy::policy::resolve::TargetResolver;
use crate::proxy::policy::{Policy, judge_unknown};
use crate::state::Watcher;
use crate::target::datagrams::{Datagrams, Way};
use crate::target::dial::{Dial, DialError, DialOutcome, Host, ResolvedAddress, Tailnet, Target};
use crate::target::ranges::is_of_a_tailnet;

/// Between the dials to several addresses of one name: as tailscaled and Go have it (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// A connection to a target.
#[derive(Debug)]
pub enum Connection {
    Tailnet(Tailnet),
    Direct(TcpStream),
}

/// Connects clients to targets.
pub struct Connector<D> {
    dial: D,
    policy: Policy,
    state: Watcher,
    timeout: Duration,
    observe: Box<dyn Fn(DialSignal) + Send + Sync>,
}

impl<D: Dial> Connector<D> {
    /// `timeout` covers waiting and dialling together; `observe` hears how dials through the tailnet end.
    pub fn new(
        dial: D,
        policy: Policy,
        state: Watcher,
        timeout: Duration,
        observe: impl Fn(DialSignal) + Send + Sync + 'static,
    ) -> Self {
        Self { dial, policy, state, timeout, observe: Box::new(observe) }
    }

    /// A connection to `target`, or the reason why there is none.
    pub async fn connect(&self, target: &Target) -> Result<Connection, DialError> {
        let deadline = self.deadline();
        let judge = self.judge(deadline);
        judge.as_given(target).await?;
        match judge.place(target).await? {
            Some(places) => self.connect_to_first_of(target, &places, deadline).await,
            None => {
                let connection = self.connect_to(target, target, deadline).await?;
                if matches!(connection, Connection::Tailnet(_)) {
                    self.policy.judge_unseen(target)?;
                }
                Ok(connection)
            }
        }
    }

    /// Opens an association for datagrams, as soon as the tailnet is there.
    pub async fn associate(&self) -> Result<Datagrams, DialError> {
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

    /// Whether datagrams can be carried, as far as is known.
    pub fn carries_datagrams(&self) -> bool {
        self.dial.carries_datagrams()
    }

    /// Bytes that connections in tailscaled's hands have sent and received since this was asked last.
    pub async fn traffic(&self) -> (u64, u64) {
        self.dial.traffic().await
    }

    /// Judges the target of a datagram. The answer is where to send it, and which way: what was judged is what is reached.
    pub async fn judge_datagram(&self, target: &Target) -> Result<(Way, SocketAddr), DialError> {
        let judge = self.judge(self.deadline());
        judge.as_given(target).await?;
        let places = judge.locate(target).await?.unwrap_or_default();
        let first = places.first().ok_or_else(|| DialError::Host(format!("{target} has no address")))?;
        let way = if first.inside { Way::Tailnet } else { Way::Direct };
        Ok((way, (first.address, target.port).into()))
    }

    /// Connects to one address after the other: to the next one when one fails, or beside it when it is silent for a while.
    async fn connect_to_first_of(
        &self,
        target: &Target,
        places: &[ResolvedAddress],
        deadline: Deadline<'_>,
    ) -> Result<Connection, DialError> {
        if let [only] = places {
            return self.connect_to(target, &only.target(target.port), deadline).await;
        }
        let mut failure = DialError::Host("the name has no address".into());
        let mut dials = FuturesUnordered::new();
        for place in places {
            dials.push(async { self.connect_to(target, &place.target(target.port), deadline).await });
            match timeout(NEXT_ADDRESS_AFTER, dials.next()).await {
                Ok(Some(Ok(connection))) => return Ok(connection),
                Ok(Some(Err(error))) => failure = error,
                Ok(None) | Err(_) => {}
            }
        }
        while let Some(result) = dials.next().await {
            match result {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Connects to `at`, which is `target` or one of the addresses that its name stands for.
    async fn connect_to(&self, target: &Target, at: &Target, deadline: Deadline<'_>) -> Result<Connection, DialError> {
        match self.dial_when_ready(at, deadline).await? {
            DialOutcome::Tailnet(connection) => Ok(Connection::Tailnet(connection)),
            DialOutcome::Direct(address) => {
                self.policy.judge_outside(target, address)?;
                deadline.by("dialling directly", dial_directly(address)).await.map(Connection::Direct)
            }
        }
    }

    async fn dial_when_ready(&self, target: &Target, deadline: Deadline<'_>) -> Result<DialOutcome, DialError> {
        loop {
            deadline.ready().await?;
            let error = match deadline.by("no answer through the tailnet", self.dial_hedged(target)).await {
                // Nobody has the address yet, or nobody at all.
                Ok(DialOutcome::Direct(address))
                    if deadline.is_early() && is_of_a_tailnet(address.ip()) && deadline.leaves_a_retry() =>
                {
                    sleep(RETRY).await;
                    continue;
                }
                Ok(dialled) => {
                    if matches!(dialled, DialOutcome::Tailnet(..)) {
                        (self.observe)(DialSignal::Answered);
                    }
                    return Ok(dialled);
                }
                Err(error) => error,
            };
            match error {
                DialError::Refused => (self.observe)(DialSignal::Answered),
                DialError::TimedOut(_) => (self.observe)(DialSignal::NoAnswer),
                _ => {}
            }
            // A tailscaled that has just started may not know all nodes yet.
            let unknown_yet = deadline.is_early() && is_unknown(target, &error);
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

    fn judge<'a>(&'a self, deadline: Deadline<'a>) -> TargetResolver<'a, D> {
        TargetResolver { dial: &self.dial, policy: &self.policy, deadline, observe: &*self.observe }
    }

    async fn dial_hedged(&self, target: &Target) -> Result<DialOutcome, DialError> {
        dial_hedged(|| self.dial.dial(target), || self.age(), &self.observe).await
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
    use crate::config::types::enums::Direct;
    use crate::state::{Phase, Publisher};
    use crate::target::dial::Resolution;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails as tailscaled does while it ends, as often as told, then names an address outside.
    struct Ending(AtomicU32, SocketAddr);

    impl Dial for Ending {
        async fn dial(&self, _: &Target) -> Result<DialOutcome, DialError> {
            match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Err(DialError::Tailscaled("connection reset".into())),
                Err(_) => Ok(DialOutcome::Direct(self.1)),
            }
        }

        async fn domain(&self) -> Result<String, DialError> {
            Ok(String::new())
        }

        async fn locate(&self, _: &Target, _: bool) -> Result<Resolution, DialError> {
            Ok(Resolution::Name)
        }

        async fn associate(&self) -> Result<Datagrams, DialError> {
            Err(DialError::Refused)
        }

        fn carries_datagrams(&self) -> bool {
            true
        }

        async fn traffic(&self) -> (u64, u64) {
            (0, 0)
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

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn right_after_a_start_an_address_of_the_tailnet_is_asked_for_until_a_node_has_it() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Ready, "joined");
        let connector = connector(0, "100.64.0.9:80", &publisher, Duration::from_secs(10));
        let begun = tokio::time::Instant::now();
        let target = Target::new("100.64.0.9", 80);
        let error = connector.connect(&target).await.expect_err("no node has it");
        assert!(matches!(error, DialError::Policy(_)), "{error}");
        assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
        let later = tokio::time::Instant::now();
        connector.connect(&target).await.expect_err("no node has it");
        assert!(later.elapsed() < Duration::from_millis(50), "{:?}", later.elapsed());
    }
}
