//! What the table of `check --security` is judged by.

use crate::config::reader::Shown;
use crate::config::settings::Settings;
use crate::config::types::address::Listen;
use crate::environment::Environment;

/// The settings, and where they count.
pub struct Facts<'a> {
    pub settings: &'a Settings,
    /// The settings with their origins.
    pub shown: &'a [Shown],
    pub environment: &'a Environment,
    pub is_root: bool,
}

impl<'a> Facts<'a> {
    /// Puts the facts together for this process.
    pub fn new(settings: &'a Settings, shown: &'a [Shown], environment: &'a Environment) -> Self {
        Self { settings, shown, environment, is_root: nix::unistd::geteuid().is_root() }
    }

    /// Lists the listeners of the proxy that others than programs of this machine reach, be it by way of a balancer.
    pub fn on_the_network(&self) -> impl Iterator<Item = &'a Listen> {
        self.settings.socks_listen.iter().filter(|listen| !self.settings.is_private(listen))
    }
}
