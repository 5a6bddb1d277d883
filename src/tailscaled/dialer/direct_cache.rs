//! Caches whether the proxy may dial an address outside the tailnet directly.

use std::net::{IpAddr, SocketAddr};

use crate::tailscaled::dialer::recent_lookups::RecentLookups;
use crate::tailscaled::exit_node::rule::ExitRule;
use crate::target::dial::{DialError, DialOutcome};
use crate::target::host::{Host, Target};

/// Remembers which addresses are dialled directly. Clones share what is remembered, but not the rule.
#[derive(Clone, Default)]
pub struct DirectCache {
    pub rule: ExitRule,
    recent: RecentLookups<IpAddr, ()>,
}

impl DirectCache {
    /// Returns the outcome for `target` when it is an address that was dialled directly a moment ago. `None` where
    /// everything has to go by an exit node: no earlier answer may lead past it.
    pub fn get(&self, target: &Target) -> Option<DialOutcome> {
        let Host::Ip(address) = target.host else { return None };
        let is_direct = self.rule == ExitRule::Open && self.recent.get(&address).is_some();
        is_direct.then(|| DialOutcome::Direct((address, target.port).into()))
    }

    /// Checks that `address` may be dialled directly.
    ///
    /// # Errors
    /// [`DialError::Network`] when it may be reached by an exit node alone.
    pub fn permit(&self, address: SocketAddr) -> Result<DialOutcome, DialError> {
        self.rule.permit(DialOutcome::Direct(address))
    }

    /// Remembers that `address` is dialled directly.
    pub fn insert(&self, address: IpAddr) {
        self.recent.insert(address, ());
    }
}
