//! Kubernetes: probes come from the node, so health listens on every address; stops last up to 30 s; the reason of
//! a failed end goes to the termination log, where `kubectl describe pod` shows it.

use std::path::PathBuf;

use crate::config::Environment;

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
