//! Kubernetes: probes come from the node, so health listens on every address; stops last up to 30 s; the reason of
//! a failed end goes to the termination log, where `kubectl describe pod` shows it. The node is named after the pod.

use std::path::PathBuf;

use super::Identity;
use crate::config::Environment;
use crate::config::value::{Hostname, LONGEST_LABEL, Value};

/// Has the pod's name by the downward API. The container's host name is the pod's, too, but not in the network of the
/// node, where it is the node's.
/// <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>
const POD_NAME: &str = "POD_NAME";

/// By the downward API, too: labels of the metrics and where they come from.
const LABELS: [(&str, &str); 3] = [("namespace", "POD_NAMESPACE"), ("pod", POD_NAME), ("node", "NODE_NAME")];

pub(super) fn implied(logs: (&'static str, String)) -> Vec<(&'static str, String)> {
    vec![logs, ("drain_timeout", "20s".to_owned()), ("health_listen", "[::]:9002".to_owned())]
}

/// <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>
pub(super) fn termination_log() -> PathBuf {
    "/dev/termination-log".into()
}

/// The cluster's own names, and the address of its API server.
/// <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>
pub(super) fn direct_hosts(environment: &Environment) -> Vec<String> {
    let api = environment.get("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty());
    [".svc", ".cluster.local"].map(str::to_owned).into_iter().chain(api.cloned()).collect()
}

pub(super) fn identity(environment: &Environment) -> Identity {
    let value = |name| environment.get(name).filter(|value| !value.is_empty());
    let labels = LABELS.into_iter().filter_map(|(label, name)| Some((label, value(name)?.clone())));
    Identity { hostname: value(POD_NAME).and_then(|pod| host_name(pod)), labels: labels.collect() }
}

/// A pod's name as one DNS label: it may have dots, as those of static pods do, and 253 characters.
fn host_name(pod: &str) -> Option<String> {
    let label: String = pod.chars().take(LONGEST_LABEL).map(|c| if c == '.' { '-' } else { c }).collect();
    Hostname::parse(label.trim_matches('-')).map(|name| name.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_labelled_with_what_is_known() {
        let known = [("POD_NAMESPACE", "shop"), ("POD_NAME", "web-0.a"), ("NODE_NAME", "")];
        let found = identity(&known.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(found.hostname.as_deref(), Some("web-0-a"));
        assert_eq!(found.labels, [("namespace", "shop".to_owned()), ("pod", "web-0.a".to_owned())]);
        assert_eq!(identity(&Environment::new()), Identity::default());
    }

    #[test]
    fn a_pods_name_becomes_one_label() {
        for (pod, name) in [
            ("shop-7c9f8d6b5-abcde", Some("shop-7c9f8d6b5-abcde")),
            ("etcd-ip-10-0-0-1.ec2.internal", Some("etcd-ip-10-0-0-1-ec2-internal")),
            ("", None),
            ("no name", None),
        ] {
            assert_eq!(host_name(pod).as_deref(), name, "{pod}");
        }
        assert_eq!(host_name(&"a".repeat(253)).map(|name| name.len()), Some(LONGEST_LABEL));
        assert_eq!(host_name(&format!("{}.b", "a".repeat(62))), Some("a".repeat(62)));
    }
}
