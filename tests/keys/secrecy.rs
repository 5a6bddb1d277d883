//! Tests that no secret shows at `trace` level, through every source.
//!
//! No secret is in any output, any page, `/proc/PID/{cmdline,environ}` of both processes, or a core dump that is
//! forced.

use std::fs;
use std::path::Path;

use nix::sys::resource::Resource;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use testbed::aws::{self, Aws};
use testbed::daemon::{Builder, Daemon};
use testbed::moto::Moto;
use testbed::region::REGION;
use testbed::tailscale_api::{ACCESS_TOKEN, CLIENT_SECRET, FEDERATED_ID, ID_TOKEN, TailscaleApi};
use testbed::wait::wait_until;

use crate::failures::HIDDEN;
use crate::identities::{WORKFLOW_TOKEN, at_google, github, google, in_a_task, in_a_workflow, task_endpoint};
use crate::scene::{AWS_SECRET, AWS_SESSION, END, READY, key, keyless, stored, tailnet, with_api, write};

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
fn force_core(pid: i32) {
    let mut limit = std::process::Command::new("prlimit");
    limit.args(["--core=unlimited", "--pid", &pid.to_string()]);
    assert!(limit.status().expect("prlimit").success());
    kill(Pid::from_raw(pid), Signal::SIGABRT).expect("signal");
}

fn check(name: &str, builder: Builder, secrets: &[&str]) {
    let directory = tempfile::tempdir().expect("directory");
    std::env::set_current_dir(directory.path()).expect("a place for a core");
    let mut daemon = builder.env("TETHERD_LOG_LEVEL", "trace").start().expect("starts");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut seen = visible(&daemon);
    let tailscaled = daemon.tailscaled_pid().expect("tailscaled runs");
    // Go's runtime writes its goroutines' stacks to the log, arguments included.
    force_core(tailscaled);
    let is_another = |pid: &i32| *pid != tailscaled;
    wait_until("it is started again", READY, || daemon.tailscaled_pid().filter(is_another)).expect("another");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{name}: {error}"));
    seen.push_str(&visible(&daemon));
    force_core(daemon.pid());
    assert!(!daemon.wait_exit(END).expect("ends").success());
    seen.push_str(&daemon.output());
    assert!(seen.contains("auth key in hand") && seen.contains("SIGABRT"), "{name}: it runs at trace level: {seen}");
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

fn cores_are_allowed() {
    let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_CORE).expect("limit");
    nix::sys::resource::setrlimit(Resource::RLIMIT_CORE, hard, hard).expect("limit");
    a_core_can_be_had();
}

#[test]
fn no_source_shows_its_secret_anywhere() {
    cores_are_allowed();
    let tailnet = tailnet();
    let inline = key(&tailnet);
    check("text", keyless(&tailnet, "text").env("TETHERD_AUTH_KEY", &inline), &[&inline]);
    let argument = key(&tailnet);
    check("argument", keyless(&tailnet, "argument").args(&["run", "--auth-key", &argument]), &[&argument]);
    let (file, in_file) = (tempfile::NamedTempFile::new().expect("file"), key(&tailnet));
    fs::write(file.path(), &in_file).expect("written");
    let path = file.path().to_string_lossy();
    check("file", keyless(&tailnet, "file").env("TETHERD_AUTH_KEY_FILE", &path), &[&in_file]);

    let moto = Moto::start(&tailnet).expect("moto");
    let kept = key(&tailnet);
    moto.store("ts", &json!({ "key": kept, "other": HIDDEN }).to_string()).expect("stored");
    let secrets = [kept.as_str(), HIDDEN, AWS_SECRET, AWS_SESSION];
    check("Secrets Manager", stored(keyless(&tailnet, "stored"), &moto, "ts"), &secrets);

    let made = key(&tailnet);
    let api = TailscaleApi::start(vec![made.clone()]).expect("API");
    let client = with_api(keyless(&tailnet, "client"), &api).env("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET);
    check("OAuth client", client, &[&made, CLIENT_SECRET, ACCESS_TOKEN]);

    let api_key = tailnet.create_api_key().expect("API key");
    check("Headscale", keyless(&tailnet, "headscale").env("TETHERD_AUTH_KEY", &api_key), &[&api_key, "hskey-auth-"]);
}

#[test]
fn no_identity_shows_its_token_anywhere() {
    cores_are_allowed();
    let tailnet = tailnet();
    let keys: Vec<String> = (0..4).map(|_| key(&tailnet)).collect();
    let api = TailscaleApi::start(keys.clone()).expect("API");
    let identity = |name| with_api(keyless(&tailnet, name), &api).env("TETHERD_OAUTH_CLIENT_ID", FEDERATED_ID);
    let mut secrets: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (of_task, token_of_task) = (aws::secret_of(aws::TASK), aws::session_of(aws::TASK).expect("temporary"));
    secrets.extend([ID_TOKEN, ACCESS_TOKEN, WORKFLOW_TOKEN, &of_task, &token_of_task]);
    check("given", identity("given").env("TS_ID_TOKEN", ID_TOKEN), &secrets);
    check("GitHub", in_a_workflow(identity("workflow"), &github()), &secrets);
    check("Google", at_google(identity("google"), &google()), &secrets);
    let aws = Aws::start(Vec::new()).expect("AWS");
    let _endpoint = task_endpoint(&aws);
    check("AWS", in_a_task(identity("task"), &aws), &secrets);
}

#[test]
fn no_credentials_of_aws_are_shown_anywhere() {
    cores_are_allowed();
    let tailnet = tailnet();
    let keys: Vec<String> = (0..3).map(|_| key(&tailnet)).collect();
    let aws = Aws::start(keys.clone()).expect("AWS");
    let _endpoint = task_endpoint(&aws);
    let directory = tempfile::tempdir().expect("directory");
    let token = write(directory.path(), "token", HIDDEN);
    aws.accept(HIDDEN);
    let asking = |name| {
        let builder = keyless(&tailnet, name).env("TETHERD_AUTH_SECRET", "ts").env("AWS_REGION", REGION);
        builder.env("AWS_ENDPOINT_URL", &aws.api.url())
    };
    let sources = [aws::TASK, aws::POD, aws::WEB_IDENTITY, aws::PROFILE];
    let of_sources: Vec<String> =
        sources.iter().flat_map(|id| [Some(aws::secret_of(id)), aws::session_of(id)]).flatten().collect();
    let mut secrets: Vec<&str> = keys.iter().chain(&of_sources).map(String::as_str).collect();
    secrets.push(HIDDEN);
    let pod = asking("pod").env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}{}", aws.api.url(), aws::POD_PATH));
    check("pod identity", pod.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", HIDDEN), &secrets);
    let irsa = asking("irsa").env("AWS_WEB_IDENTITY_TOKEN_FILE", &token).env("AWS_ROLE_ARN", aws::ROLE);
    check("web identity", irsa, &secrets);
    let keys = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        aws::PROFILE,
        aws::secret_of(aws::PROFILE)
    );
    let file = write(directory.path(), "credentials", &keys);
    check("profile", asking("profile").env("AWS_SHARED_CREDENTIALS_FILE", &file), &secrets);
}
