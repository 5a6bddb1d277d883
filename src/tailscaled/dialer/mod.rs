//! Dials through tailscaled: by the calls of ours inside it, or, where a user's tailscaled lacks them, by LocalAPI's `dial`.

pub(crate) mod cache;
pub(crate) mod external_names;
pub(crate) mod stock;
pub(crate) mod tailnet_ipv6;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::tailscaled::calls;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::calls::channel::Channel;
use crate::tailscaled::calls::{association, dialled};
use crate::tailscaled::dialer::cache::RecentLookups;
use crate::tailscaled::dialer::external_names::ExternalNames;
use crate::tailscaled::exit_node::rule::ExitRule;
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::local_api::pool::ConnectionPool;
use crate::tailscaled::path::rebind::Rebinder;
use crate::target::datagrams::Datagrams;
use crate::target::dial::{Dial, DialError, DialOutcome, Host, Resolution, ResolvedAddress, Tailnet, Target};
use crate::target::ranges::is_of_a_tailnet;

/// Dials through one tailscaled. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    pub api: LocalApi,
    calls: Calls,
    pub ahead: ConnectionPool,
    thaw: Rebinder,
    pub names: ExternalNames,
    pub exit: ExitRule,
    /// Addresses outside the tailnet.
    pub outside: RecentLookups<IpAddr, ()>,
    /// Names, as the client writes them, that stand for nothing but addresses in the tailnet.
    inside: RecentLookups<String, Resolution>,
}

impl Dialer {
    pub fn new(api: LocalApi, calls: Calls, thaw: Rebinder) -> Self {
        Self {
            ahead: ConnectionPool::new(api.socket().to_owned()),
            api,
            calls,
            thaw,
            names: ExternalNames::default(),
            exit: ExitRule::default(),
            outside: RecentLookups::default(),
            inside: RecentLookups::default(),
        }
    }

    /// Sends nothing past an exit node.
    pub fn only_by_exit_node(self) -> Self {
        Self { exit: ExitRule::OnlyByExitNode, ..self }
    }

    /// The session with tailscaled; `None` where it has no calls.
    async fn channel(&self) -> Result<Option<Arc<Channel>>, DialError> {
        self.thaw.settle().await;
        self.calls.channel().await.map_err(unreachable)
    }

    async fn dial_by_calls(&self, channel: Arc<Channel>, target: &Target) -> Result<DialOutcome, DialError> {
        let Host::Ip(address) = target.host else {
            // It was looked up by another tailscaled, which had no calls.
            return Err(DialError::Tailscaled("it was started again meanwhile".into()));
        };
        let address = SocketAddr::new(address, target.port);
        match dialled::dial(channel, address).await? {
            Some(held) => Ok(DialOutcome::Tailnet(Tailnet::Held(held))),
            None => {
                let permitted = self.exit.permit(DialOutcome::Direct(address))?;
                self.learn_outside(address.ip());
                Ok(permitted)
            }
        }
    }

    async fn locate_by_calls(&self, channel: &Channel, host: &Host) -> Result<Resolution, DialError> {
        let name = match host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        if let Some(place) = self.inside.get(&name) {
            return Ok(place);
        }
        let (whole, located) = calls::resolve(channel, &name).await?;
        let is_inside = located.iter().all(|located| located.inside);
        let place = Resolution::Addresses { name: Some(whole), addresses: self.permitted(located)? };
        if is_inside {
            self.inside.learn(name, place.clone());
        }
        Ok(place)
    }

    /// Those of the addresses that may be dialled by what is said of exit nodes.
    fn permitted(&self, located: Vec<ResolvedAddress>) -> Result<Vec<ResolvedAddress>, DialError> {
        let mut permitted = Vec::new();
        let mut refusal = None;
        for located in located {
            let outside = (!located.inside).then(|| DialOutcome::Direct((located.address, 0).into()));
            match outside.map(|outside| self.exit.permit(outside)) {
                Some(Err(error)) => refusal = Some(error),
                Some(Ok(_)) => {
                    self.learn_outside(located.address);
                    permitted.push(located);
                }
                None => permitted.push(located),
            }
        }
        match refusal {
            Some(error) if permitted.is_empty() => Err(error),
            _ => Ok(permitted),
        }
    }

    /// A node may have an address of the tailnet's own a moment later.
    fn learn_outside(&self, address: IpAddr) {
        if !is_of_a_tailnet(address) {
            self.outside.learn(address, ());
        }
    }

    pub fn goes_by_exit_node(&self) -> bool {
        self.exit == ExitRule::OnlyByExitNode
    }
}

impl Dial for Dialer {
    async fn dial(&self, target: &Target) -> Result<DialOutcome, DialError> {
        if let Some(address) = self.exit.own_loopback(target) {
            return Ok(DialOutcome::Direct(address));
        }
        // By an exit node alone, nothing goes past the tailnet on an answer from before.
        if let Host::Ip(address) = target.host
            && self.exit == ExitRule::Open
            && self.outside.get(&address).is_some()
        {
            return Ok(DialOutcome::Direct((address, target.port).into()));
        }
        match self.channel().await? {
            Some(channel) => self.dial_by_calls(channel, target).await,
            // In a box: what a dial takes is to be no more than its own way needs.
            None => Box::pin(self.dial_on("tcp", target)).await,
        }
    }

    async fn domain(&self) -> Result<String, DialError> {
        self.names.domain(&self.api).await
    }

    async fn locate(&self, target: &Target, by_address: bool) -> Result<Resolution, DialError> {
        if let Some(address) = self.exit.own_loopback(target) {
            return Ok(Resolution::Addresses {
                name: None,
                addresses: vec![ResolvedAddress { address: address.ip(), inside: false }],
            });
        }
        match self.channel().await? {
            Some(channel) => self.locate_by_calls(&channel, &target.host).await,
            None => Box::pin(self.locate_without_calls(target, by_address)).await,
        }
    }

    async fn associate(&self) -> Result<Datagrams, DialError> {
        match self.channel().await? {
            Some(channel) => association::associate(&channel).await,
            None => Err(DialError::Other("this tailscaled carries no datagrams: it has no calls of tetherd's".into())),
        }
    }

    fn carries_datagrams(&self) -> bool {
        !self.calls.is_stock()
    }

    async fn traffic(&self) -> (u64, u64) {
        self.calls.traffic().await.unwrap_or_default()
    }
}

pub fn unreachable(error: io::Error) -> DialError {
    DialError::Tailscaled(format!("connection: {error}"))
}
