//! The settings `loopback` and `private`: targets of this machine and its networks.

use std::net::IpAddr;

use crate::config::types::enums::LocalTargetSetting;

/// What is done with targets at loopback and private addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTargets {
    pub loopback: LocalTargetSetting,
    pub private: LocalTargetSetting,
}

impl Default for LocalTargets {
    fn default() -> Self {
        Self { loopback: LocalTargetSetting::Auto, private: LocalTargetSetting::Auto }
    }
}

impl LocalTargets {
    /// Returns the name of the setting that denies `address`, which is loopback or private, to clients of the network or of
    /// this machine; `None` where they may reach it.
    pub fn denied_by(&self, address: IpAddr, by_network: bool) -> Option<&'static str> {
        let (name, setting) = match address.to_canonical().is_loopback() {
            true => ("loopback", self.loopback),
            false => ("private", self.private),
        };
        denies(setting, by_network).then_some(name)
    }

    /// Returns the names of the settings that deny targets to clients of the network or of this machine.
    pub fn denying(&self, by_network: bool) -> Vec<&'static str> {
        let settings = [("loopback", self.loopback), ("private", self.private)];
        settings.into_iter().filter(|(_, setting)| denies(*setting, by_network)).map(|(name, _)| name).collect()
    }
}

fn denies(setting: LocalTargetSetting, by_network: bool) -> bool {
    match setting {
        LocalTargetSetting::Auto => by_network,
        LocalTargetSetting::Allow => false,
        LocalTargetSetting::Deny => true,
    }
}
