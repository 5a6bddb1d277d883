//! Tests the daemon in Kubernetes: its name, its probes, its termination log.
//!
//! It is named after its pod, probed at the pod's address, and the reason of a failed end is in the termination log.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use testbed::daemon::Daemon;
use testbed::netns::OWN_ADDRESS;
use testbed::{Tailnet, http};

/// A start, on a machine with other work.
const READY: Duration = Duration::from_secs(60);

#[test]
fn the_node_has_the_pods_name_and_probes_reach_it_at_the_pods_address() {
    let tailnet = Tailnet::apart().expect("a tailnet");
    let mut daemon = Daemon::builder(env!("CARGO_BIN_EXE_tetherd"))
        .joining(&tailnet, "unused")
        .expect("an auth key")
        .env_remove("TETHERD_HOSTNAME")
        .env("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        .env("POD_NAME", "etcd-ip-10-0-0-1.ec2.internal")
        .env("POD_NAMESPACE", "kube-system")
        .env("NODE_NAME", "ip-10-0-0-1")
        // Of a Service named tetherd-gateway in the same namespace.
        .env("TETHERD_GATEWAY_PORT", "tcp://10.96.0.7:1055")
        .start()
        .expect("starts");
    daemon.wait_ready(READY).expect("is ready");
    assert!(tailnet.node("etcd-ip-10-0-0-1-ec2-internal").expect("nodes").is_some(), "{}", daemon.output());
    for path in ["/startupz", "/livez", "/readyz"] {
        let stream = TcpStream::connect((OWN_ADDRESS, 9002)).expect("connects");
        assert_eq!(http::get(stream, OWN_ADDRESS, path).expect("answers").head.status, 200, "{path}");
    }
    let place = daemon.place().expect("the place");
    for label in ["namespace=\"kube-system\"", "pod=\"etcd-ip-10-0-0-1.ec2.internal\"", "node=\"ip-10-0-0-1\""] {
        assert!(place.contains(label), "{label} is missing in {place}");
    }
    daemon.first_record().expect("logs are JSON");
}

/// Runs `tetherd` in a pod's environment, with a termination log as the kubelet mounts one, and prints that.
const WITH_TERMINATION_LOG: &str = "\
mount -t tmpfs tmpfs /dev && touch /dev/termination-log && chmod 666 /dev/termination-log
\"$1\" run 2> /dev/stderr-of-tetherd; code=$?
cat /dev/termination-log; echo; tail -n 1 /dev/stderr-of-tetherd; exit $code";

#[test]
fn a_failed_end_is_told_in_the_termination_log() {
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", WITH_TERMINATION_LOG, "sh", env!("CARGO_BIN_EXE_tetherd")])
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("TETHERD_UDP", "maybe")])
        .output()
        .expect("runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines = text.lines();
    let (told, last) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    assert_eq!(output.status.code(), Some(78), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("udp (from TETHERD_UDP) is \"maybe\""), "{text}");
    assert!(last.contains("udp (from TETHERD_UDP)"), "the last line on stderr says it, too: {text}");
}

#[test]
fn what_kubernetes_implies_is_what_the_docs_say() {
    let output = Command::new(env!("CARGO_BIN_EXE_tetherd"))
        .arg("check")
        .env_clear()
        .env("KUBERNETES_SERVICE_HOST", "10.96.0.1")
        .output()
        .expect("runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for (key, value) in [("drain_timeout", "20s"), ("health_listen", "[::]:9002"), ("log_format", "json")] {
        let line = text.lines().find(|line| line.split(' ').next() == Some(key)).expect(key);
        assert!(line.ends_with(&format!("= {value}  (runtime kubernetes)")), "{line}");
    }
}
