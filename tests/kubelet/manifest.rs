//! The pod under test: an application of busybox, with tetherd beside it.

use std::path::Path;

use serde_json::{Value, json};
use testbed::Tailnet;
use testbed::image::{BUSYBOX, IMAGE};

/// Name of the pod, and by that of the node.
pub const POD: &str = "shop";
pub const APP: &str = "app";
pub const TETHERD: &str = "tetherd";

/// Its first request is its start: it ends when that fails. When it is told to stop it has one more to make, a second later.
const SCRIPT: &str = r#"
trap 'sleep 1; wget -q -O /dev/null $URL/last && echo "the last request was answered"; exit' TERM
wget -q -O /dev/null $URL/first || exit 1
while :; do sleep 1 & wait $!; wget -q -O /dev/null $URL/again; done
"#;

/// A static pod. `url` is the target's, by its name in the tailnet; `key` is a directory with the auth key.
pub fn pod(tailnet: &Tailnet, url: &str, secrets: &Path) -> String {
    let environment = |pairs: &[(&str, &str)]| -> Value {
        pairs.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let probe = |path: &str, period: u32, failures: u32| json!({ "httpGet": { "path": path, "port": 9002 }, "periodSeconds": period, "failureThreshold": failures });
    let control = tailnet.control_url();
    let restricted = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": POD, "namespace": "default" },
        "spec": {
            "hostNetwork": true,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 30,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" },
            },
            "initContainers": [{
                "name": TETHERD,
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "restartPolicy": "Always",
                "env": environment(&[
                    ("TETHERD_RUNTIME", "kubernetes"),
                    ("TETHERD_HOSTNAME", POD),
                    ("TETHERD_CONTROL_URL", &control),
                    ("TETHERD_CA_FILE", "/secrets/ca.pem"),
                    ("TETHERD_AUTH_KEY_FILE", "/secrets/auth-key"),
                    ("TETHERD_STATE_DIR", "/var/lib/tetherd"),
                    ("TETHERD_MEMORY_LIMIT", "100MiB"),
                ]),
                "resources": { "limits": { "memory": "256Mi" } },
                "startupProbe": probe("/startupz", 1, 60),
                "livenessProbe": probe("/livez", 10, 3),
                "readinessProbe": probe("/readyz", 1, 1),
                "securityContext": restricted.clone(),
                "volumeMounts": [
                    { "name": "secrets", "mountPath": "/secrets", "readOnly": true },
                    { "name": "state", "mountPath": "/var/lib/tetherd" },
                ],
            }],
            "containers": [{
                "name": APP,
                "image": BUSYBOX,
                "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", SCRIPT],
                "env": environment(&[("http_proxy", "http://127.0.0.1:1055"), ("URL", url)]),
                "securityContext": restricted,
            }],
            "volumes": [
                { "name": "secrets", "hostPath": { "path": secrets, "type": "Directory" } },
                { "name": "state", "emptyDir": { "medium": "Memory", "sizeLimit": "16Mi" } },
            ],
        },
    });
    pod.to_string()
}
