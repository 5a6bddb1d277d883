//! The rule about what may go past an exit node: loopback, and own networks.
//!
//! It is that of kernel mode. tailscaled in userspace mode does not keep to it: it answers `Dial-Self` while its exit node is missing, and sends
//! 127.0.0.1 through the exit node while that is there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::net::own_networks::is_in_own_network;
use crate::target::dial::{DialError, DialOutcome};
use crate::target::host::{Host, Target};
use crate::target::ranges::is_of_a_tailnet;

/// Whether targets outside the tailnet are reached by an exit node alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitRule {
    #[default]
    Open,
    OnlyByExitNode,
    /// Networks of this machine's interfaces are reached directly, all else by the exit node.
    ExceptOwnNetworks,
}

impl ExitRule {
    /// Returns the address of `target` when it is reached past the exit node and tailscaled must not be asked for it.
    pub fn past_exit_node(self, target: &Target) -> Option<SocketAddr> {
        let address = match &target.host {
            Host::Ip(address) => *address,
            Host::Name(name) if name.as_str() == "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Host::Name(_) => return None,
        };
        self.is_past(address).then(|| (address, target.port).into())
    }

    /// Whether `address` is reached past the exit node, whatever leads there. What a tailnet's node may have is not.
    pub fn is_past(self, address: IpAddr) -> bool {
        match self {
            Self::Open => false,
            Self::OnlyByExitNode => is_loopback(address),
            Self::ExceptOwnNetworks => {
                is_loopback(address) || (!is_of_a_tailnet(address) && is_in_own_network(address))
            }
        }
    }

    /// Checks an outcome of a dial: tailscaled would have made the connection itself, were the exit node there.
    ///
    /// # Errors
    /// [`DialError::Network`] for a direct connection that may not go past the exit node.
    pub fn permit(self, outcome: DialOutcome) -> Result<DialOutcome, DialError> {
        match outcome {
            DialOutcome::Direct(address) if self != Self::Open && !self.is_past(address.ip()) => {
                Err(DialError::Network("the exit node is not there, and nothing may go past it".into()))
            }
            _ => Ok(outcome),
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_alone_goes_past_an_exit_node() {
        let rule = ExitRule::OnlyByExitNode;
        for (host, own) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("LocalHost.", true),
            ("web", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(rule.past_exit_node(&Target::new(host, 80).expect("a target")).is_some(), own, "{host}");
            assert_eq!(ExitRule::Open.past_exit_node(&Target::new(host, 80).expect("a target")), None);
        }
        let outside = |address: &str| DialOutcome::Direct(address.parse().expect("address"));
        assert!(rule.permit(outside("127.0.0.1:80")).is_ok());
        assert!(rule.permit(outside("203.0.113.7:80")).is_err());
        assert!(ExitRule::Open.permit(outside("203.0.113.7:80")).is_ok());
    }
}
