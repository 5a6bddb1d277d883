//! The trait of platforms, the environments in which a container runs.
//!
//! It has all that the daemon asks a platform. A method's default body is for platforms that have nothing special in
//! that respect.

use std::future::ready;
use std::path::Path;
use std::time::Duration;

use crate::config::types::implied::Defaults;
use crate::environment::Environment;
use crate::platform::lifecycle::{Lifecycle, LocalBoxFuture, SignalsOnly};

/// Name and labels that a platform gives to this container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Name for the node, where the settings have none.
    pub hostname: Option<String>,
    /// Labels for the metrics: name and value.
    pub labels: Vec<(&'static str, String)>,
}

/// One platform, with everything that differs between platforms.
pub trait Platform: Sync {
    /// Value of the setting `runtime` that means this platform.
    fn name(&self) -> &'static str;

    /// Whether the environment is that of a container on this platform.
    fn detect(&self, environment: &Environment) -> bool;

    /// Settings whose default here is not the built-in one.
    fn defaults(&self, _environment: &Environment) -> Defaults {
        Defaults::new()
    }

    /// Asks the platform what this container is. Takes two seconds at most.
    fn identity<'a>(&'a self, _environment: &'a Environment) -> LocalBoxFuture<'a, Identity> {
        Box::pin(ready(Identity::default()))
    }

    /// Hosts and suffixes of the platform itself that programs are to reach without a proxy, as `NO_PROXY` takes them.
    fn direct_hosts(&self, _environment: &Environment) -> Vec<String> {
        Vec::new()
    }

    /// Directory of more CA certificates (PEM files) to trust, used where it exists.
    fn ca_dir(&self) -> Option<&'static Path> {
        None
    }

    /// File that takes the reason of a failed end, in addition to stderr; used where the platform has put one.
    fn termination_log(&self) -> Option<&'static Path> {
        None
    }

    /// Returns the time that the platform gives at a stop before it kills, unless it was told otherwise. 10 s is that of
    /// `docker stop`.
    fn stop_grace(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Whether AWS's instance metadata may be asked for credentials; not where the platform has another way to get
    /// them.
    fn has_instance_metadata(&self) -> bool {
        true
    }

    /// Name of the function that the daemon serves, for metrics in its log.
    fn function(&self, _environment: &Environment) -> Option<String> {
        None
    }

    /// Creates the lifecycle by which this platform takes part in the daemon's life. `program` is the path that this
    /// process was started as. With `outlasts_failure` the program that the daemon serves is to go on without it, where
    /// the platform can do that.
    fn lifecycle(&self, _environment: &Environment, _program: &str, _outlasts_failure: bool) -> Box<dyn Lifecycle> {
        Box::new(SignalsOnly)
    }
}
