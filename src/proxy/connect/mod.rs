//! Connects a client to its target, through the tailnet or directly.
//!
//! Waits until the tailnet is ready, looks the name up, dials, and dials again when tailscaled or the path failed
//! meanwhile. One deadline covers it all.

pub(crate) mod deadline;
pub(crate) mod direct;
pub(crate) mod hedge;
pub(crate) mod records;
pub(crate) mod tailnet;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::proxy::connect::deadline::{Deadline, pause_without_tailscaled};
use crate::proxy::connect::direct::dial_directly;
use crate::proxy::connect::hedge::{DialSignal, SignalObserver};
use crate::proxy::connect::tailnet::TailnetDialer;
use crate::proxy::policy::Policy;
use crate::proxy::policy::access::Access;
use crate::proxy::policy::client_policy::ClientPolicy;
use crate::proxy::policy::resolve::{Resolved, TargetResolver};
use crate::state::Watcher;
use crate::target::datagrams::{Datagrams, NetworkKind};
use crate::target::dial::{Dial, DialError, DialOutcome, ResolvedAddress, Tailnet};
use crate::target::host::Target;

/// Pause between the dials to several addresses of one name: as tailscaled and Go have it (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(300);

/// A connection to a target.
#[derive(Debug)]
pub enum Connection {
    Tailnet(Tailnet),
    Direct(TcpStream),
}

/// Connects clients to targets, as the policy allows.
pub struct Connector<D> {
    dial: D,
    policy: Policy,
    state: Watcher,
    timeout: Duration,
    observe: Box<SignalObserver>,
}

impl<D: Dial> Connector<D> {
    /// Creates a connector. `timeout` covers waiting and dialling together; `observe` gets the signals of dials through
    /// the tailnet.
    pub fn new(
        dial: D,
        policy: Policy,
        state: Watcher,
        timeout: Duration,
        observe: impl Fn(DialSignal) + Send + Sync + 'static,
    ) -> Self {
        Self { dial, policy, state, timeout, observe: Box::new(observe) }
    }

    /// Connects a client with `access` to `target`.
    pub async fn connect(&self, access: &Access, target: &Target) -> Result<Connection, DialError> {
        let deadline = self.deadline();
        let policy = self.policy.of(access);
        let resolver = self.resolver(access, deadline);
        resolver.check_as_given(target).await?;
        match resolver.resolve_name(target).await? {
            Resolved::Addresses(addresses) => self.connect_to_first_of(policy, target, &addresses, deadline).await,
            Resolved::AsGiven => {
                policy.check_unresolved(target)?;
                self.connect_to(policy, target, target, deadline).await
            }
        }
    }

    /// Opens an association for datagrams, as soon as the tailnet is ready.
    pub async fn associate(&self) -> Result<Datagrams, DialError> {
        let attempt = || self.dial.associate();
        self.deadline().retry("opening a UDP association", attempt, pause_without_tailscaled).await
    }

    /// Whether datagrams can be carried, as far as is known.
    pub fn carries_datagrams(&self) -> bool {
        self.dial.carries_datagrams()
    }

    /// Returns what is said about targets.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the bytes that tailscaled has sent and received for clients since this was last called.
    pub async fn traffic(&self) -> (u64, u64) {
        self.dial.traffic().await
    }

    /// Checks the target of a datagram against the policy. Returns the network and the address to send it to, which is
    /// the address that was checked.
    pub async fn resolve_datagram(
        &self,
        access: &Access,
        target: &Target,
    ) -> Result<(NetworkKind, SocketAddr), DialError> {
        let resolver = self.resolver(access, self.deadline());
        resolver.check_as_given(target).await?;
        let first = match resolver.resolve(target).await? {
            Resolved::Addresses(addresses) => addresses.first().copied(),
            Resolved::AsGiven => None,
        };
        let first = first.ok_or_else(|| DialError::Host(format!("{target} has no address")))?;
        let network = if first.by_tailnet { NetworkKind::Tailnet } else { NetworkKind::Direct };
        Ok((network, (first.address, target.port).into()))
    }

    /// Connects to one address after the other: the next one is tried when one fails, and at the same time when one is
    /// silent for a while.
    async fn connect_to_first_of(
        &self,
        policy: ClientPolicy<'_>,
        target: &Target,
        addresses: &[ResolvedAddress],
        deadline: Deadline<'_>,
    ) -> Result<Connection, DialError> {
        if let [only] = addresses {
            return self.connect_to(policy, target, &only.target(target.port), deadline).await;
        }
        let mut failure = DialError::Host("the name has no address".into());
        let mut dials = FuturesUnordered::new();
        for address in addresses {
            dials.push(async { self.connect_to(policy, target, &address.target(target.port), deadline).await });
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
    async fn connect_to(
        &self,
        policy: ClientPolicy<'_>,
        target: &Target,
        at: &Target,
        deadline: Deadline<'_>,
    ) -> Result<Connection, DialError> {
        let dialer = TailnetDialer { dial: &self.dial, deadline, observe: &*self.observe };
        match dialer.dial(at).await? {
            DialOutcome::Tailnet(connection) => Ok(Connection::Tailnet(connection)),
            DialOutcome::Direct(address) => {
                policy.check_direct(target, &policy.judged(address.ip()))?;
                deadline.by("dialling directly", dial_directly(address)).await.map(Connection::Direct)
            }
        }
    }

    fn deadline(&self) -> Deadline<'_> {
        Deadline::new(&self.state, self.timeout)
    }

    fn resolver<'a>(&'a self, access: &'a Access, deadline: Deadline<'a>) -> TargetResolver<'a, D> {
        TargetResolver { dial: &self.dial, policy: &self.policy, access, deadline, observe: &*self.observe }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::enums::Direct;
    use crate::config::types::local_targets::LocalTargets;
    use crate::proxy::policy::access::Rules;
    use crate::proxy::policy::own_listeners::OwnListeners;
    use crate::state::{Phase, Publisher};
    use crate::target::dial::Resolution;
    use crate::target::own_node::OwnNode;
    use crate::target::records::{RecordQuestion, Records};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails as tailscaled does while it ends, as often as told, then names an address to dial directly.
    struct Ending(AtomicU32, SocketAddr);

    impl Dial for Ending {
        async fn dial(&self, _: &Target) -> Result<DialOutcome, DialError> {
            match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Err(DialError::Tailscaled("connection reset".into())),
                Err(_) => Ok(DialOutcome::Direct(self.1)),
            }
        }

        async fn own_node(&self) -> Result<Arc<OwnNode>, DialError> {
            Ok(Arc::default())
        }

        async fn locate(&self, _: &Target) -> Result<Resolution, DialError> {
            Ok(Resolution::Name)
        }

        async fn records(&self, _: RecordQuestion<'_>) -> Result<Records, DialError> {
            Ok(Records::OfOthers)
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

    fn connector(failures: u32, direct: &str, publisher: &Publisher, timeout: Duration) -> Connector<Ending> {
        let dial = Ending(AtomicU32::new(failures), direct.parse().expect("address"));
        let policy = Policy::new(Direct::Allow, LocalTargets::default(), Rules::default(), OwnListeners::default());
        Connector::new(dial, policy, publisher.watch(), timeout, |_| {})
    }

    fn target() -> Target {
        Target::new("web", 80).expect("a target")
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_dial_that_meets_an_ending_tailscaled_is_repeated() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Ready, "joined");
        let connector = connector(3, "169.254.169.254:80", &publisher, Duration::from_secs(3));
        let error = connector.connect(&Access::default(), &target()).await.expect_err("is refused");
        assert!(matches!(error, DialError::Policy(_)), "{error}");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn repeating_ends_at_the_deadline() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Ready, "joined");
        let connector = connector(u32::MAX, "127.0.0.1:1", &publisher, Duration::from_millis(100));
        let error = connector.connect(&Access::default(), &target()).await.expect_err("never answers");
        assert!(matches!(error, DialError::Tailscaled(_)), "{error}");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn right_after_a_start_an_address_of_the_tailnet_is_asked_for_until_a_node_has_it() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Ready, "joined");
        let connector = connector(0, "100.64.0.9:80", &publisher, Duration::from_secs(10));
        let started = tokio::time::Instant::now();
        let target = Target::new("100.64.0.9", 80).expect("a target");
        let error = connector.connect(&Access::default(), &target).await.expect_err("no node has it");
        assert!(matches!(error, DialError::Policy(_)), "{error}");
        assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
        let later = tokio::time::Instant::now();
        connector.connect(&Access::default(), &target).await.expect_err("no node has it");
        assert!(later.elapsed() < Duration::from_millis(50), "{:?}", later.elapsed());
    }
}
