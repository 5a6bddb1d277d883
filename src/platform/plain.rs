//! The plain platform: any other container or machine, with built-in defaults.

use crate::environment::Environment;
use crate::platform::interface::Platform;

/// The platform where no other one is found.
pub struct Plain;

impl Platform for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn detect(&self, _environment: &Environment) -> bool {
        true
    }
}
