//! Kubernetes: the pod gives name and labels, and probes come from the node.
//!
//! Since probes come from the node, health listens on every address. Stops last up to 30 s. The reason of a failed end
//! goes to the termination log, where `kubectl describe pod` shows it.

use std::future::ready;
use std::path::Path;
use std::time::Duration;

use crate::config::types::implied::Defaults;
use crate::config::types::node_label::NodeLabel;
use crate::environment::Environment;
use crate::platform::interface::{Identity, Platform};
use crate::platform::lifecycle::LocalBoxFuture;

/// Variable with the host of the cluster's API server; Kubernetes sets it in every container.
const API_HOST: &str = "KUBERNETES_SERVICE_HOST";

/// Variable with the pod's name, by the downward API. The container's host name is the pod's, too, but not in the
/// network of the node, where it is the node's.
/// <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>
const POD_NAME: &str = "POD_NAME";

/// Labels of the metrics, each with its variable, which the downward API fills.
const LABELS: [(&str, &str); 3] = [("namespace", "POD_NAMESPACE"), ("pod", POD_NAME), ("node", "NODE_NAME")];

/// File that the kubelet reads the reason of a failure from.
/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Default of `terminationGracePeriodSeconds`.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// The platform of a container in a Kubernetes pod.
pub struct Kubernetes;

impl Platform for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn detect(&self, environment: &Environment) -> bool {
        environment.contains_key(API_HOST)
    }

    fn defaults(&self, _environment: &Environment) -> Defaults {
        let defaults = [("log_format", "json"), ("drain_timeout", "20s"), ("health_listen", "[::]:9002")];
        defaults.map(|(key, value)| (key, value.to_owned())).into()
    }

    fn identity<'a>(&'a self, environment: &'a Environment) -> LocalBoxFuture<'a, Identity> {
        Box::pin(ready(identity(environment)))
    }

    /// The cluster's own names, and the host of its API server.
    /// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>
    fn direct_hosts(&self, environment: &Environment) -> Vec<String> {
        let api = environment.get(API_HOST).filter(|host| !host.is_empty());
        [".svc", ".cluster.local"].map(str::to_owned).into_iter().chain(api.cloned()).collect()
    }

    fn stop_grace(&self) -> Duration {
        STOP_GRACE
    }

    fn termination_log(&self) -> Option<&'static Path> {
        Some(Path::new(TERMINATION_LOG))
    }
}

fn identity(environment: &Environment) -> Identity {
    let value = |name| environment.get(name).filter(|value| !value.is_empty());
    let labels = LABELS.into_iter().filter_map(|(label, name)| Some((label, value(name)?.clone())));
    // A pod's name may have dots, as those of static pods do, and 253 characters.
    let hostname = value(POD_NAME).and_then(|pod| NodeLabel::near(pod)).map(|name| name.0);
    Identity { hostname, labels: labels.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn metrics_are_labelled_with_what_is_known() {
        let known = [("POD_NAMESPACE", "shop"), ("POD_NAME", "web-0.a"), ("NODE_NAME", "")];
        let found = identity(&environment(&known));
        assert_eq!(found.hostname.as_deref(), Some("web-0-a"));
        assert_eq!(found.labels, [("namespace", "shop".to_owned()), ("pod", "web-0.a".to_owned())]);
        assert_eq!(identity(&Environment::new()), Identity::default());
    }
}
