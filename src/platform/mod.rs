//! Where the daemon runs, found from the environment, and what that place implies. Nothing else asks.

pub(crate) mod ecs;
pub(crate) mod kubernetes;
pub(crate) mod lambda;
pub(crate) mod life;

use std::path::PathBuf;

use crate::environment::Environment;

/// The places the daemon knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Lambda,
    Ecs,
    Kubernetes,
    Plain,
}

/// What the place says that this container is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// For the node, where the settings name none.
    pub hostname: Option<String>,
    /// For the metrics.
    pub labels: Vec<(&'static str, String)>,
}

impl Runtime {
    pub fn detect(environment: &Environment) -> Self {
        let has = |name| environment.contains_key(name);
        if has("AWS_LAMBDA_RUNTIME_API") {
            Self::Lambda
        } else if has(ecs::METADATA) {
            Self::Ecs
        } else if has("KUBERNETES_SERVICE_HOST") {
            Self::Kubernetes
        } else {
            Self::Plain
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::Lambda, Self::Ecs, Self::Kubernetes, Self::Plain].into_iter().find(|runtime| runtime.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Ecs => "ecs",
            Self::Kubernetes => "kubernetes",
            Self::Plain => "plain",
        }
    }

    /// Settings whose default differs from the built-in one here.
    pub fn implied(self, environment: &Environment) -> Vec<(&'static str, String)> {
        let logs = ("log_format", "json".to_owned());
        match self {
            Self::Lambda => lambda::implied(environment),
            Self::Ecs => vec![logs, ("drain_timeout", ecs::DRAIN_TIMEOUT.to_owned())],
            Self::Kubernetes => kubernetes::implied(logs),
            Self::Plain => Vec::new(),
        }
    }

    /// Hosts and suffixes of the place itself that programs are to reach without a proxy, as `NO_PROXY` takes them.
    pub fn direct_hosts(self, environment: &Environment) -> Vec<String> {
        match self {
            Self::Lambda => lambda::api_host(environment).into_iter().collect(),
            Self::Kubernetes => kubernetes::direct_hosts(environment),
            Self::Ecs | Self::Plain => Vec::new(),
        }
    }

    /// Asks the place what this container is, where there is something to ask. Takes two seconds at most.
    pub async fn identity(self, environment: &Environment) -> Identity {
        match self {
            Self::Ecs => ecs::identity(environment).await,
            Self::Kubernetes => kubernetes::identity(environment),
            Self::Lambda | Self::Plain => Identity::default(),
        }
    }

    /// The name of the function that the daemon serves, where it serves one.
    pub fn function(self, environment: &Environment) -> Option<String> {
        if self == Self::Lambda { environment.get("AWS_LAMBDA_FUNCTION_NAME").cloned() } else { None }
    }

    /// A directory of more roots to trust, where there is one.
    pub fn roots(self) -> Option<PathBuf> {
        (self == Self::Lambda).then(lambda::roots).filter(|directory| directory.is_dir())
    }

    /// Whether AWS's instance metadata may be what gives credentials here: Lambda and ECS hand them out otherwise.
    pub fn has_instance_metadata(self) -> bool {
        matches!(self, Self::Kubernetes | Self::Plain)
    }

    /// A file that takes the reason of a failed end, beside stderr.
    pub fn termination_log(self) -> Option<PathBuf> {
        (self == Self::Kubernetes).then(kubernetes::termination_log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn the_place_is_found_from_the_environment_lambda_first() {
        let mut environment = Environment::new();
        assert_eq!(Runtime::detect(&environment), Runtime::Plain);
        for (variable, runtime) in [
            ("KUBERNETES_SERVICE_HOST", Runtime::Kubernetes),
            ("ECS_CONTAINER_METADATA_URI_V4", Runtime::Ecs),
            ("AWS_LAMBDA_RUNTIME_API", Runtime::Lambda),
        ] {
            environment.insert(variable.into(), "x".into());
            assert_eq!(Runtime::detect(&environment), runtime);
        }
    }

    #[test]
    fn what_belongs_to_the_place_is_direct_there_and_only_there() {
        let pairs = [("AWS_LAMBDA_RUNTIME_API", "127.0.0.9:9001"), ("KUBERNETES_SERVICE_HOST", "10.96.0.1")];
        let of_place = environment(&pairs);
        assert_eq!(Runtime::Lambda.direct_hosts(&of_place), ["127.0.0.9"]);
        assert_eq!(Runtime::Kubernetes.direct_hosts(&of_place), [".svc", ".cluster.local", "10.96.0.1"]);
        assert!(Runtime::Plain.direct_hosts(&of_place).is_empty());
        let v6 = environment(&[("AWS_LAMBDA_RUNTIME_API", "[::1]:9001")]);
        assert_eq!(Runtime::Lambda.direct_hosts(&v6), ["::1"]);
    }
}
