//! The platforms that the daemon knows, and how each is detected.
//!
//! A new platform needs a file beside this one, and here its `mod` line and its entry in [`PLATFORMS`].

pub(crate) mod ecs;
pub(crate) mod interface;
pub(crate) mod kubernetes;
pub(crate) mod lambda;
pub(crate) mod lifecycle;
pub(crate) mod plain;

use crate::environment::Environment;
use crate::platform::ecs::Ecs;
use crate::platform::interface::Platform;
use crate::platform::kubernetes::Kubernetes;
use crate::platform::lambda::Lambda;
use crate::platform::plain::Plain;

/// Every platform, in the order of detection. The last one is found where no other is.
static PLATFORMS: &[&dyn Platform] = &[&Lambda, &Ecs, &Kubernetes, &Plain];

/// Finds the platform from the environment.
pub fn detect(environment: &Environment) -> &'static dyn Platform {
    PLATFORMS.iter().copied().find(|platform| platform.detect(environment)).unwrap_or(&Plain)
}

/// Returns the platform that the setting `runtime` calls `name`.
pub fn named(name: &str) -> Option<&'static dyn Platform> {
    PLATFORMS.iter().copied().find(|platform| platform.name() == name)
}

/// Returns the names of all platforms, in the order of detection.
pub fn names() -> Vec<&'static str> {
    PLATFORMS.iter().map(|platform| platform.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn the_place_is_found_from_the_environment_lambda_first() {
        let mut environment = Environment::new();
        assert_eq!(detect(&environment).name(), "plain");
        for (variable, platform) in [
            ("KUBERNETES_SERVICE_HOST", "kubernetes"),
            ("ECS_CONTAINER_METADATA_URI_V4", "ecs"),
            ("AWS_LAMBDA_RUNTIME_API", "lambda"),
        ] {
            environment.insert(variable.into(), "x".into());
            assert_eq!(detect(&environment).name(), platform);
        }
    }

    #[test]
    fn what_belongs_to_the_place_is_direct_there_and_only_there() {
        let pairs = [("AWS_LAMBDA_RUNTIME_API", "127.0.0.9:9001"), ("KUBERNETES_SERVICE_HOST", "10.96.0.1")];
        let of_place = environment(&pairs);
        assert_eq!(Lambda.direct_hosts(&of_place), ["127.0.0.9"]);
        assert_eq!(Kubernetes.direct_hosts(&of_place), [".svc", ".cluster.local", "10.96.0.1"]);
        assert!(Plain.direct_hosts(&of_place).is_empty());
        let v6 = environment(&[("AWS_LAMBDA_RUNTIME_API", "[::1]:9001")]);
        assert_eq!(Lambda.direct_hosts(&v6), ["::1"]);
    }
}
