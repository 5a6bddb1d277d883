//! At `trace` level through every source: no secret in any output, any page, `/proc/PID/{cmdline,environ}` of both
//! processes, or a core dump that is forced.

use std::fs;
use std::path::Path;

use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::daemon::{Builder, Daemon};
use testbed::moto::Moto;
use testbed::tailscale_api::{ACCESS_TOKEN, CLIENT_SECRET, FEDERATED_ID, ID_TOKEN, TailscaleApi};

use crate::scene::{AWS_SECRET, END, READY, key, keyless, stored, tailnet, with_api};

/// Everything that can be seen of the daemon and of its tailscaled, also by root.
fn visible(daemon: &Daemon) -> String {
    let tailscaled = daemon.tailscaled_pid().expect("tailscaled runs");
    let file =
        |path: String| fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).expect("is read");
    let mut seen = vec![daemon.output()];
    for path in ["/", "/status", "/readyz", "/metrics"] {
        seen.push(daemon.http_get(path).expect("answers").text());
    }
    for pid in [daemon.pid(), tailscaled] {
        seen.push(file(format!("/proc/{pid}/cmdline")));
        seen.push(file(format!("/proc/{pid}/environ")));
    }
    seen.join("\n")
}

fn core_of(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("is read").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("core")).collect()
}

/// Raises the limit from outside, as root can, and aborts the process.
fn force_core(daemon: &mut Daemon) {
    let mut limit = std::process::Command::new("prlimit");
    limit.args(["--core=unlimited", "--pid", &daemon.pid().to_string()]);
    assert!(limit.status().expect("prlimit").success());
    kill(Pid::from_raw(daemon.pid()), Signal::SIGABRT).expect("signal");
    assert!(!daemon.wait_exit(END).expect("ends").success());
}

fn check(name: &str, builder: Builder, secrets: &[&str]) {
    let directory = tempfile::tempdir().expect("directory");
    std::env::set_current_dir(directory.path()).expect("a place for a core");
    let mut daemon = builder.env("TETHERD_LOG_LEVEL", "trace").start().expect("starts");
    daemon.wait_ready(READY).expect("gets ready");
    let mut seen = visible(&daemon);
    force_core(&mut daemon);
    seen.push_str(&daemon.output());
    assert!(seen.contains("auth key in hand"), "{name}: it runs at trace level: {seen}");
    for secret in secrets {
        assert!(!seen.contains(secret), "{name}: {secret} is in:\n{seen}");
    }
    assert_eq!(core_of(directory.path()), Vec::<String>::new(), "{name}");
}

/// Where this fails, the test below proves nothing.
fn a_core_can_be_had() {
    let directory = tempfile::tempdir().expect("directory");
    let script = "ulimit -c unlimited; kill -ABRT $$";
    let status = std::process::Command::new("sh").args(["-c", script]).current_dir(directory.path()).status();
    assert!(!status.expect("runs").success());
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim() == "core" {
        assert_ne!(core_of(directory.path()), Vec::<String>::new(), "a core of another program");
    }
}

#[test]
fn no_source_shows_its_secret_anywhere() {
    let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_CORE).expect("limit");
    nix::sys::resource::setrlimit(Resource::RLIMIT_CORE, hard, hard).expect("limit");
    a_core_can_be_had();
    let tailnet = tailnet();
    let inline = key(&tailnet);
    check("text", keyless(&tailnet, "text").env("TETHERD_AUTH_KEY", &inline), &[&inline]);
    let argument = key(&tailnet);
    check("argument", keyless(&tailnet, "argument").args(&["run", "--auth-key", &argument]), &[&argument]);

    let moto = Moto::start(&tailnet).expect("moto");
    let kept = key(&tailnet);
    moto.store("ts", &kept).expect("stored");
    let secrets = [kept.as_str(), AWS_SECRET, "session-token-0123456789"];
    check("Secrets Manager", stored(keyless(&tailnet, "stored"), &moto, "ts"), &secrets);

    let (first, second) = (key(&tailnet), key(&tailnet));
    let api = TailscaleApi::start(vec![second.clone(), first.clone()]).expect("API");
    let client = with_api(keyless(&tailnet, "client"), &api).env("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET);
    check("OAuth client", client, &[&first, CLIENT_SECRET, ACCESS_TOKEN]);
    let identity = with_api(keyless(&tailnet, "identity"), &api).env("TETHERD_OAUTH_CLIENT_ID", FEDERATED_ID);
    check("identity", identity.env("TS_ID_TOKEN", ID_TOKEN), &[&second, ID_TOKEN, ACCESS_TOKEN]);

    let api_key = tailnet.create_api_key().expect("API key");
    check("Headscale", keyless(&tailnet, "headscale").env("TETHERD_AUTH_KEY", &api_key), &[&api_key, "hskey-auth-"]);
}
