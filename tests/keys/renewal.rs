//! Tests what happens when a key or a node is about to expire.
//!
//! The source is asked again at each login.

use std::fs;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use testbed::ca;
use testbed::daemon::Daemon;
use testbed::moto::Moto;
use testbed::tailscale_api::{CLIENT_SECRET, TailscaleApi};
use testbed::wait::wait_until;

use crate::scene::{READY, key, keyless, log_in_again, stored, tailnet, with_api};

fn in_days(days: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(days * 24 * 3600)
}

fn said(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// The value of a metric, if it is there.
fn metric(daemon: &Daemon, name: &str) -> Option<f64> {
    let document = daemon.http_get("/metrics").expect("answers").text();
    document.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

#[test]
fn a_secret_that_was_replaced_is_used_at_the_next_login() {
    let tailnet = tailnet();
    let moto = Moto::start(&tailnet).expect("moto");
    moto.store("rotated", &key(&tailnet)).expect("stored");
    let mut daemon = stored(keyless(&tailnet, "rotated"), &moto, "rotated").start().expect("starts");
    daemon.wait_ready(READY).expect("gets ready");
    moto.replace("rotated", &key(&tailnet)).expect("replaced");
    log_in_again(&tailnet, &mut daemon, "rotated");
}

/// The second time it is a credential to make keys with: what a file holds is looked at each time.
#[test]
fn a_file_that_changed_is_read_anew() {
    let tailnet = tailnet();
    let file = tempfile::NamedTempFile::new().expect("file");
    fs::write(file.path(), key(&tailnet)).expect("written");
    let builder = keyless(&tailnet, "file").env("TETHERD_AUTH_KEY_FILE", &file.path().to_string_lossy());
    let mut daemon = builder.env("TETHERD_LOG_LEVEL", "debug").start().expect("starts");
    daemon.wait_ready(READY).expect("gets ready");
    fs::write(file.path(), tailnet.create_api_key().expect("API key")).expect("written");
    log_in_again(&tailnet, &mut daemon, "file");
}

/// Two registrations at a time overtake each other: the control server is left with a key that the node no longer has.
#[test]
fn a_login_again_registers_the_node_once() {
    let tailnet = tailnet();
    let api_key = tailnet.create_api_key().expect("API key");
    let builder = keyless(&tailnet, "once").env("TETHERD_AUTH_KEY", &api_key).env("TETHERD_LOG_LEVEL", "debug");
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).expect("gets ready");
    let registrations = |daemon: &Daemon| daemon.output().matches("RegisterReq: onode=").count();
    assert_eq!(registrations(&daemon), 1, "{}", daemon.output());
    log_in_again(&tailnet, &mut daemon, "once");
    assert_eq!(registrations(&daemon), 2, "{}", daemon.output());
}

/// Also for the API that makes the key, and for a tailscaled that is started anew. One that runs trusts what it began with.
#[test]
fn the_ca_file_is_read_anew_for_a_login_after_the_control_servers_authority_has_changed() {
    let mut tailnet = tailnet();
    let api_key = tailnet.create_api_key().expect("API key");
    let builder = keyless(&tailnet, "renewed").env("TETHERD_AUTH_KEY", &api_key).env("TETHERD_LOG_LEVEL", "debug");
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).expect("gets ready");
    let made = |daemon: &Daemon| daemon.output().matches("RegisterReq: onode=").count();
    assert_eq!(made(&daemon), 1, "{}", daemon.output());
    tailnet.stop_control();
    let trusted = tailnet.ca_file();
    let before = fs::read(&trusted).expect("is there");
    ca::write(trusted.parent().expect("a directory"), &[]).expect("another authority");
    assert_ne!(fs::read(&trusted).expect("is there"), before, "in the same file");
    tailnet.start_control().expect("is back");
    tailnet.expire_node("renewed").expect("expired");
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    kill(Pid::from_raw(tailscaled), Signal::SIGKILL).expect("killed");
    wait_until("it logs in anew", READY, || (made(&daemon) >= 2).then_some(()))
        .unwrap_or_else(|error| panic!("{error}\n{}", daemon.output()));
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", daemon.output()));
}

/// A key that is made for a login is good for minutes, and the control server may be away for longer.
#[test]
fn a_key_that_is_over_before_the_control_server_is_there_is_made_anew() {
    let mut tailnet = tailnet();
    let lasting = key(&tailnet);
    let api = TailscaleApi::start_with(vec![tailnet.brief_key("3s").expect("key")], "2026-11-24T00:00:03Z");
    let api = api.expect("API");
    tailnet.stop_control();
    let builder = with_api(keyless(&tailnet, "patient"), &api).env("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET);
    let mut daemon = builder.start().expect("starts");
    let asked = || api.api.seen().iter().filter(|request| request.path.ends_with("/keys")).count();
    wait_until("it wants a new key", READY, || (asked() >= 2).then_some(())).expect("asks again");
    tailnet.start_control().expect("is back");
    let text = "expired before the control server was asked";
    let refused = || daemon.output().contains(text).then_some(());
    wait_until("the old key is refused", READY, refused).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    api.add(lasting);
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
}

#[test]
fn what_expires_within_a_week_is_a_metric_and_a_warning() {
    let tailnet = tailnet();
    let moto = Moto::start(&tailnet).expect("moto");
    let (key_ends, node_ends) = (in_days(3), in_days(5));
    let secret = json!({ "key": key(&tailnet), "expires": said(key_ends) });
    moto.store("ending", &secret.to_string()).expect("stored");
    let directory = tempfile::tempdir().expect("directory");
    let builder = stored(keyless(&tailnet, "ending"), &moto, "ending");
    let builder = builder.env("TETHERD_STATE_DIR", &directory.path().to_string_lossy()).env("TETHERD_LOGOUT", "never");
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).expect("gets ready");
    let warned = |text: &str| wait_until(text, READY, || daemon.output().contains(text).then_some(()));
    warned("the auth key expires").expect("a warning");
    let shown = metric(&daemon, "tetherd_auth_key_expiry_timestamp_seconds").expect("a metric");
    assert!((shown - seconds(key_ends)).abs() < 2.0, "{shown}");
    tailnet.expire_node_at("ending", &said(node_ends)).expect("a time");
    let ends = || {
        let shown = metric(&daemon, "tetherd_node_key_expiry_timestamp_seconds")?;
        ((shown - seconds(node_ends)).abs() < 2.0).then_some(())
    };
    wait_until("the node's end is a metric", READY, ends).expect("a metric");
}

/// Known from its state directory it needs no key, and says when one will be needed.
#[test]
fn a_node_without_a_source_of_keys_is_warned_of_too() {
    let tailnet = tailnet();
    let directory = tempfile::tempdir().expect("directory");
    let keeping = || {
        let builder = keyless(&tailnet, "kept").env("TETHERD_STATE_DIR", &directory.path().to_string_lossy());
        builder.env("TETHERD_LOGOUT", "never")
    };
    let mut daemon = keeping().env("TETHERD_AUTH_KEY", &tailnet.auth_key(Default::default()).expect("key")).start();
    daemon.as_mut().expect("starts").wait_ready(READY).expect("gets ready");
    tailnet.expire_node_at("kept", &said(in_days(2))).expect("a time");
    drop(daemon);
    let mut again = keeping().start().expect("starts");
    again.wait_ready(READY).expect("gets ready");
    let text = "set auth_key, or log it in again with a browser then";
    wait_until("a warning", READY, || again.output().contains(text).then_some(()))
        .unwrap_or_else(|error| panic!("{error}:\n{}", again.output()));
}
