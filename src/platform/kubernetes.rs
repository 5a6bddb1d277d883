//! Kubernetes: probes come from the node, so health listens on every address; stops last up to 30 s; the reason of
//! a failed end goes to the termination log, where `kubectl describe pod` shows it. The node is named after the pod.

use std::path::PathBuf;

use crate::config::types::hostname::Hostname;
use crate::environment::Environment;
use crate::platform::Identity;

/// Has the pod's name by the downward API. The container's host name is the pod's, too, but not in the network of the
/// node, where it is the node's.
/// <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>
const POD_NAME: &str = "POD_NAME";

/// By the downward API, too: labels of the metrics and where they come from.
const LABELS: [(&str, &str); 3] = [("namespace", "POD_NAMESPACE"), ("pod", POD_NAME), ("node", "NODE_NAME")];

pub fn implied(logs: (&'static str, String)) -> Vec<(&'static str, String)> {
    vec![logs, ("drain_timeout", "20s".to_owned()), ("health_listen", "[::]:9002".to_owned())]
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
pub fn termination_log() -> PathBuf {
    "/dev/termination-log".into()
}

/// The cluster's own names, and the address of its API server.
/// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>
pub fn direct_hosts(environment: &Environment) -> Vec<String> {
    let api = environment.get("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty());
    [".svc", ".cluster.local"].map(str::to_owned).into_iter().chain(api.cloned()).collect()
}

pub fn identity(environment: &Environment) -> Identity {
    let value = |name| environment.get(name).filter(|value| !value.is_empty());
    let labels = LABELS.into_iter().filter_map(|(label, name)| Some((label, value(name)?.clone())));
    // A pod's name may have dots, as those of static pods do, and 253 characters.
    let hostname = value(POD_NAME).and_then(|pod| Hostname::near(pod)).map(|name| name.0);
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
