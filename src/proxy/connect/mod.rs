//! Connects a client to its target, through the tailnet or directly.
//!
//! Waits until the tailnet is ready, looks the name up, dials, and dials again when tailscaled or the path failed
//! meanwhile. One deadline covers it all.

pub(crate) mod deadline;
pub(crate) mod direct;
pub(crate) mod hedge;
pub(crate) mod outside;
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
use crate::proxy::policy::resolve::{Resolved, TargetResolver, allowed};
use crate::state::{Phase, Watcher};
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
    /// Whether what is certainly outside is dialled while the tailnet cannot be had.
    goes_on_without_tailnet: bool,
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
        Self { dial, policy, state, timeout, observe: Box::new(observe), goes_on_without_tailnet: false }
    }

    /// Dials what is certainly outside the tailnet even while that cannot be had.
    pub fn going_on_without_tailnet(self) -> Self {
        Self { goes_on_without_tailnet: true, ..self }
    }

    /// Connects a client with `access` to `target`.
    pub async fn connect(&self, access: &Access, target: &Target) -> Result<Connection, DialError> {
        let deadline = self.deadline();
        let policy = self.policy.of(access);
        if self.is_dialled_without_tailnet(access, target) {
            return deadline.by("dialling past the tailnet", self.connect_outside(policy, target)).await;
        }
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

    /// Whether `target` is certainly outside a tailnet that cannot be had now.
    fn is_dialled_without_tailnet(&self, access: &Access, target: &Target) -> bool {
        let is_away = {
            let state = self.state.borrow();
            !state.dialable && state.phase != Phase::Draining
        };
        self.goes_on_without_tailnet && is_away && outside::is_outside(target) && !self.policy.denies_names(access)
    }

    /// Connects past the tailnet, to the first address that answers of those that the policy allows.
    async fn connect_outside(&self, policy: ClientPolicy<'_>, target: &Target) -> Result<Connection, DialError> {
        policy.check_target(target)?;
        let addresses = allowed(policy, target, outside::look_up(target).await?)?;
        first_of(&addresses, |address| async {
            dial_directly((address.address, target.port).into()).await.map(Connection::Direct)
        })
        .await
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
        first_of(addresses, |address| async {
            self.connect_to(policy, target, &address.target(target.port), deadline).await
        })
        .await
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

/// Dials one address after the other by `dial`: the next one when one fails, and at the same time when one is silent for a while.
async fn first_of<'a, F: Future<Output = Result<Connection, DialError>>>(
    addresses: &'a [ResolvedAddress],
    dial: impl Fn(&'a ResolvedAddress) -> F,
) -> Result<Connection, DialError> {
    let mut failure = DialError::Host("the name has no address".into());
    let mut dials = FuturesUnordered::new();
    for address in addresses {
        dials.push(dial(address));
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

#[cfg(test)]
mod tests;
