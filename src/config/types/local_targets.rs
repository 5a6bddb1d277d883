//! The settings `loopback` and `private`: targets of this machine and its networks.

use std::net::IpAddr;

use crate::config::types::enums::Direct;

/// What is done with targets at loopback and private addresses. Where a setting is not given, clients that come by a listener
/// which other machines reach are denied them: this machine's services trust what comes from within.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalTargets {
    pub loopback: Option<Direct>,
    pub private: Option<Direct>,
}

/// What one of the two settings says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTarget {
    pub setting: &'static str,
    pub decision: Direct,
}

impl LocalTargets {
    /// Returns what is done with `address`, which is loopback or private, for clients of this machine or of the network.
    pub fn of(&self, address: IpAddr, by_network: bool) -> LocalTarget {
        let (setting, given) = match address.to_canonical().is_loopback() {
            true => ("loopback", self.loopback),
            false => ("private", self.private),
        };
        let implied = if by_network { Direct::Deny } else { Direct::Allow };
        LocalTarget { setting, decision: given.unwrap_or(implied) }
    }
}
