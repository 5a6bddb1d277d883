//! Dials through tailscaled: by tetherd's calls inside it, or by LocalAPI's `dial`.
//!
//! A user's own tailscaled lacks the calls; [`stock`] is for that one.

pub(crate) mod container_names;
pub(crate) mod direct_cache;
pub(crate) mod external_names;
pub(crate) mod magic_dns;
pub(crate) mod recent_lookups;
pub(crate) mod stock;
pub(crate) mod tailnet_ipv6;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::tailscaled::calls;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::calls::association;
use crate::tailscaled::calls::channel::Channel;
use crate::tailscaled::calls::connection;
use crate::tailscaled::dialer::direct_cache::DirectCache;
use crate::tailscaled::dialer::magic_dns::MagicDns;
use crate::tailscaled::dialer::recent_lookups::RecentLookups;
use crate::tailscaled::dialer::stock::StockDialer;
use crate::tailscaled::exit_node::rule::ExitRule;
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::own_node::OwnNodeCache;
use crate::tailscaled::path::rebind::Rebinder;
use crate::target::datagrams::Datagrams;
use crate::target::dial::{Dial, DialError, DialOutcome, Located, Resolution, ResolvedAddress, Tailnet};
use crate::target::host::{Host, Target};
use crate::target::own_node::OwnNode;
use crate::target::ranges::is_of_a_tailnet;
use crate::target::records::{RecordQuestion, Records};

/// Dials through one tailscaled. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    calls: Calls,
    rebinder: Rebinder,
    stock: StockDialer,
    magic_dns: MagicDns,
    own_node: OwnNodeCache,
    direct: DirectCache,
    /// Look-ups of names, as the client writes them, that led to nothing but addresses in the tailnet.
    tailnet_names: RecentLookups<String, Resolution>,
}

impl Dialer {
    pub fn new(api: LocalApi, calls: Calls, rebinder: Rebinder, own_node: OwnNodeCache) -> Self {
        let direct = DirectCache::default();
        Self {
            calls,
            rebinder,
            stock: StockDialer::new(api, direct.clone()),
            magic_dns: MagicDns::new(own_node.clone()),
            own_node,
            direct,
            tailnet_names: RecentLookups::default(),
        }
    }

    /// Returns the dialer with a rule about what goes past the exit node.
    pub fn with_exit_rule(mut self, rule: ExitRule) -> Self {
        self.direct.rule = rule;
        self.stock.direct = self.direct.clone();
        self
    }

    /// Returns the session with tailscaled, after a rebind if one is due; `None` where tailscaled has no calls.
    async fn channel(&self) -> Result<Option<Arc<Channel>>, DialError> {
        self.rebinder.rebind_if_due().await;
        self.calls.channel().await.map_err(connection_failed)
    }

    async fn dial_by_calls(&self, channel: Arc<Channel>, target: &Target) -> Result<DialOutcome, DialError> {
        let Host::Ip(address) = target.host else {
            // The target is still a name since the tailscaled that looked it up had no calls, and was replaced by one
            // that has them.
            return Err(DialError::Tailscaled("it was started again meanwhile".into()));
        };
        let address = SocketAddr::new(address, target.port);
        match connection::dial(channel, address).await? {
            Some(waiting) => Ok(DialOutcome::Tailnet(Tailnet::Waiting(waiting))),
            None => {
                let permitted = self.direct.permit(address)?;
                self.remember_direct(address.ip());
                Ok(permitted)
            }
        }
    }

    async fn locate_by_calls(&self, channel: &Channel, host: &Host) -> Result<Resolution, DialError> {
        let name = host.to_string();
        if let Some(resolution) = self.tailnet_names.get(&name) {
            return Ok(resolution);
        }
        let mut found = calls::resolve(channel, &name).await?;
        // By the exit node tailscaled leads to every address.
        for resolved in &mut found.addresses {
            resolved.by_tailnet &= !self.direct.rule.is_past(resolved.address);
        }
        let is_tailnet = found.addresses.iter().all(|address| address.by_tailnet);
        let addresses = self.permitted(found.addresses)?;
        let resolution = Resolution::Addresses(Located { addresses, ..found });
        if is_tailnet {
            self.tailnet_names.insert(name, resolution.clone());
        }
        Ok(resolution)
    }

    /// Returns those of `addresses` that the rule for the exit node permits.
    ///
    /// # Errors
    /// The last refusal, when none is permitted.
    fn permitted(&self, addresses: Vec<ResolvedAddress>) -> Result<Vec<ResolvedAddress>, DialError> {
        let mut permitted = Vec::new();
        let mut refusal = None;
        for resolved in addresses {
            if !resolved.by_tailnet {
                if let Err(error) = self.direct.permit((resolved.address, 0).into()) {
                    refusal = Some(error);
                    continue;
                }
                self.remember_direct(resolved.address);
            }
            permitted.push(resolved);
        }
        match refusal {
            Some(error) if permitted.is_empty() => Err(error),
            _ => Ok(permitted),
        }
    }

    /// Remembers that `address` is dialled directly; not for an address of the tailnet's ranges, which a node may have
    /// a moment later.
    fn remember_direct(&self, address: IpAddr) {
        if !is_of_a_tailnet(address) {
            self.direct.insert(address);
        }
    }
}

impl Dial for Dialer {
    async fn dial(&self, target: &Target) -> Result<DialOutcome, DialError> {
        if let Some(address) = self.direct.rule.past_exit_node(target) {
            return Ok(DialOutcome::Direct(address));
        }
        if let Some(outcome) = self.direct.get(target) {
            return Ok(outcome);
        }
        match self.channel().await? {
            Some(channel) => self.dial_by_calls(channel, target).await,
            // Heap-allocated (`Box::pin`), so that a dial by the calls does not carry the state of one by LocalAPI.
            None => Box::pin(self.stock.dial("tcp", target)).await,
        }
    }

    async fn own_node(&self) -> Result<Arc<OwnNode>, DialError> {
        self.own_node.get().await
    }

    async fn locate(&self, target: &Target) -> Result<Resolution, DialError> {
        if let Some(address) = self.direct.rule.past_exit_node(target) {
            let addresses = vec![ResolvedAddress { address: address.ip(), by_tailnet: false }];
            return Ok(Resolution::Addresses(Located { addresses, ..Located::default() }));
        }
        match self.channel().await? {
            Some(channel) => self.locate_by_calls(&channel, &target.host).await,
            None => Box::pin(self.magic_dns.locate(&self.stock, target)).await,
        }
    }

    async fn records(&self, question: RecordQuestion<'_>) -> Result<Records, DialError> {
        match self.channel().await? {
            Some(channel) => calls::query(&channel, question).await,
            None => Err(DialError::Other(
                "this tailscaled answers no questions of DNS: it has no calls of tetherd's".into(),
            )),
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
        let bytes = self.calls.traffic().await.unwrap_or_default();
        (bytes.sent, bytes.received)
    }
}

fn connection_failed(error: io::Error) -> DialError {
    DialError::Tailscaled(format!("connection: {error}"))
}
