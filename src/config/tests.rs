//! What all sources together give: order, faults, and what `check` shows.

use super::{Config, table};
use crate::cli::configure;
use crate::config::layers::Flags;
use crate::config::types::address::Listen;
use crate::environment::{Environment, environment};
use crate::memory::budget::{Share, Sharing};
use std::time::Duration;

/// Reads the settings as the program does, with what the platform implies.
fn load(environment: &Environment, config: Option<&str>, flags: &Flags) -> Config {
    configure::load(environment, config, flags, None).config
}

fn faults(pairs: &[(&str, &str)], flags: &Flags) -> String {
    load(&environment(pairs), None, flags).settings.expect_err("is faulty").to_string()
}

#[test]
fn defaults_are_those_of_the_contract() {
    let settings = load(&environment(&[]), None, &vec![]).settings.expect("defaults are valid");
    assert_eq!(settings.socks_listen, [Listen::Tcp("127.0.0.1:1055".parse().expect("address"))]);
    assert_eq!(settings.health_listen, ["127.0.0.1:9002".parse().expect("address")]);
    assert_eq!(settings.connect_timeout, Duration::from_secs(15));
    assert_eq!(settings.drain_timeout, Duration::from_secs(10));
    assert_eq!(settings.start_timeout.0, None);
}

#[test]
fn a_half_close_is_waited_for_less_where_it_cannot_be_told_from_a_close_unless_the_user_says_how_long() {
    let read = |pairs: &[(&str, &str)], flags: &Flags| {
        let config = load(&environment(pairs), None, flags);
        let shown = config.shown.iter().find(|shown| shown.key == "half_close_timeout").expect("is shown");
        let timeout = config.settings.expect("valid").half_close_timeout;
        (timeout.carried.as_secs(), timeout.held.as_secs(), format!("{} ({})", shown.value, shown.origin))
    };
    assert_eq!(read(&[], &vec![]), (60, 5, "60s (default)".into()));
    let flag = vec![("half_close_timeout", "60s".into())];
    assert_eq!(read(&[], &flag), (60, 60, "60s (--half-close-timeout)".into()));
    let (name, variable) = ("TETHERD_HALF_CLOSE_TIMEOUT", [("TETHERD_HALF_CLOSE_TIMEOUT", "2s")]);
    assert_eq!(read(&variable, &vec![]), (2, 2, format!("2s ({name})")));
}

#[test]
fn a_connection_over_the_network_is_not_idle_for_ever_unless_the_user_says_so() {
    let read = |pairs: &[(&str, &str)]| {
        let timeout = load(&environment(pairs), None, &vec![]).settings.expect("valid").idle_timeout;
        (timeout.local.map(|time| time.as_secs()), timeout.network.map(|time| time.as_secs()))
    };
    assert_eq!(read(&[]), (None, Some(3600)));
    assert_eq!(read(&[("TETHERD_IDLE_TIMEOUT", "off")]), (None, None));
    assert_eq!(read(&[("TETHERD_IDLE_TIMEOUT", "7s")]), (Some(7), Some(7)));
    let text = faults(&[("TETHERD_IDLE_TIMEOUT", "7ns")], &vec![]);
    assert!(text.contains("idle_timeout (from TETHERD_IDLE_TIMEOUT) is \"7ns\", expected a time"), "{text}");
}

#[test]
fn later_sources_win_in_the_contracts_order() {
    let file = std::env::temp_dir().join(format!("tetherd-order-{}.toml", std::process::id()));
    std::fs::write(&file, "hostname = \"file\"\nconnect_timeout = \"1s\"\nsocks_listen = [\"127.0.0.1:1\"]\n")
        .expect("file");
    let path = file.to_str().expect("UTF-8");
    let mut pairs = vec![("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("TETHERD_CONFIG", path)];
    let hostname = |pairs: &[(&str, &str)], flags: &Flags| {
        load(&environment(pairs), None, flags).settings.expect("valid").hostname.map(|name| name.0)
    };
    assert_eq!(hostname(&pairs, &vec![]).as_deref(), Some("file"));
    pairs.push(("TS_HOSTNAME", "ts"));
    assert_eq!(hostname(&pairs, &vec![]).as_deref(), Some("ts"));
    pairs.push(("TETHERD_HOSTNAME", "own"));
    assert_eq!(hostname(&pairs, &vec![]).as_deref(), Some("own"));
    assert_eq!(hostname(&pairs, &vec![("hostname", "flag".into())]).as_deref(), Some("flag"));
    let settings = load(&environment(&pairs), None, &vec![]).settings.expect("valid");
    assert_eq!(settings.connect_timeout, Duration::from_secs(1));
    assert_eq!(settings.health_listen, ["[::]:9002".parse().expect("address")]);
    assert_eq!(settings.drain_timeout, Duration::from_secs(20));
    std::fs::remove_file(file).expect("removed");
}

#[test]
fn the_memory_limit_comes_from_the_control_group_unless_something_says_otherwise() {
    let limit = |pairs: &[(&str, &str)]| {
        let share = Share::of(512 << 20, Sharing::Alone);
        let config = configure::load(&environment(pairs), None, &vec![], Some(share)).config;
        let shown = config.shown.into_iter().find(|shown| shown.key == "memory_limit");
        shown.map(|shown| (shown.value, shown.origin.to_string()))
    };
    let (value, origin) = limit(&[]).expect("is shown");
    assert_eq!(value, Share::of(512 << 20, Sharing::Alone).size());
    assert!(origin.contains("512 MiB"), "{origin}");
    assert_eq!(limit(&[("TETHERD_MEMORY_LIMIT", "1GiB")]), Some(("1GiB".into(), "TETHERD_MEMORY_LIMIT".into())));
    let lambda = [("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")];
    assert_eq!(limit(&lambda).expect("is shown").1, "runtime lambda");
}

#[test]
fn all_faults_are_reported_together_with_key_origin_and_what_is_right() {
    let text = faults(
        &[("TETHERD_SOKS_LISTEN", "x"), ("TETHERD_CONNECT_TIMEOUT", "soon"), ("TS_SOCKS5_SERVER", "nowhere")],
        &vec![("direct", "maybe".into())],
    );
    for part in [
        "TETHERD_SOKS_LISTEN (from environment) is not a known setting: did you mean socks_listen?",
        "connect_timeout (from TETHERD_CONNECT_TIMEOUT) is \"soon\", expected a time such as 15s",
        "socks_listen (from TS_SOCKS5_SERVER) is \"nowhere\", expected an IP address and a port",
        "direct (from --direct) is \"maybe\", expected allow or deny",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text:?}");
    }
}

#[test]
fn an_open_proxy_must_be_wanted() {
    assert!(faults(&[("TETHERD_SOCKS_LISTEN", "0.0.0.0:1055")], &vec![]).contains("allow_open_proxy"));
    assert!(faults(&[("TETHERD_SOCKS_LISTEN", "[::ffff:10.0.0.1]:1055")], &vec![]).contains("allow_open_proxy"));
    let allowed = environment(&[("TETHERD_SOCKS_LISTEN", ":1055"), ("TETHERD_ALLOW_OPEN_PROXY", "true")]);
    assert!(load(&allowed, None, &vec![]).settings.is_ok());
    let guarded = environment(&[
        ("TETHERD_SOCKS_LISTEN", ":1055"),
        ("TETHERD_SOCKS_USER", "app"),
        ("TETHERD_SOCKS_PASSWORD", "secret"),
    ]);
    assert!(load(&guarded, None, &vec![]).settings.is_ok());
}

#[test]
fn no_address_is_listened_on_twice() {
    let text = faults(&[("TETHERD_SOCKS_LISTEN", "127.0.0.1:1,127.0.0.1:1")], &vec![]);
    assert!(text.contains("listens on 127.0.0.1:1, and so does socks_listen"), "{text}");
    let text = faults(&[("TETHERD_FORWARDS", "127.0.0.1:9002=db:1,unix:/a=b:1,unix:/a=b:2")], &vec![]);
    assert!(text.contains("listens on 127.0.0.1:9002, and so does health_listen"), "{text}");
    assert!(text.contains("listens on unix:/a, and so does forwards"), "{text}");
    let free = environment(&[("TETHERD_SOCKS_LISTEN", "127.0.0.1:0,127.0.0.1:0")]);
    assert!(load(&free, None, &vec![]).settings.is_ok());
}

#[test]
fn user_and_password_fit_into_both_protocols() {
    let given = |user: &str, password: &str| {
        load(&environment(&[("TETHERD_SOCKS_USER", user), ("TETHERD_SOCKS_PASSWORD", password)]), None, &vec![])
    };
    let fault = |user: &str, password: &str| given(user, password).settings.expect_err("is faulty").to_string();
    assert!(given("app", "a:b").settings.is_ok());
    assert!(fault("a:b", "c").contains("socks_user (from TETHERD_SOCKS_USER) has a colon"));
    assert!(fault(&"a".repeat(256), "c").contains("socks_user (from TETHERD_SOCKS_USER) is longer than"));
    let text = fault("app", &"c".repeat(256));
    assert!(text.contains("socks_password (from TETHERD_SOCKS_PASSWORD) is longer than"), "{text}");
    assert!(!text.contains("ccc"), "{text}");
}

#[test]
fn a_secret_and_its_file_together_are_ambiguous_unless_a_later_source_decides() {
    let text = faults(&[("TETHERD_AUTH_KEY", "k"), ("TETHERD_AUTH_KEY_FILE", "/nowhere")], &vec![]);
    assert!(text.contains("auth_key (from TETHERD_AUTH_KEY) is given together with auth_key_file"), "{text}");
    let text = faults(&[("TS_AUTHKEY", "k"), ("TETHERD_AUTH_KEY_FILE", "/nowhere")], &vec![]);
    assert!(text.contains("auth_key_file (from TETHERD_AUTH_KEY_FILE) cannot be read"), "{text}");
    let flags = vec![("auth_key", "k".to_owned())];
    assert!(load(&environment(&[("TETHERD_AUTH_KEY_FILE", "/nowhere")]), None, &flags).settings.is_ok());
}

#[test]
fn secrets_are_masked_in_what_check_shows_and_in_faults() {
    let config = load(&environment(&[("TS_AUTHKEY", "tskey-auth-abc"), ("TETHERD_DIRECT", "x")]), None, &vec![]);
    assert!(config.settings.is_err());
    assert!(config.shown.iter().any(|shown| shown.key == "auth_key" && shown.value == "***"));
    assert!(!format!("{config:?}").contains("tskey-auth-abc"));
    let text = faults(&[("TS_AUTHKEY", "file:/nowhere/key")], &vec![]);
    assert!(text.contains("/nowhere/key"), "{text}");
}

#[test]
fn check_shows_every_key_of_the_table() {
    let shown: Vec<_> = load(&environment(&[]), None, &vec![]).shown.iter().map(|shown| shown.key).collect();
    let table: Vec<_> = table::KEYS.iter().map(|key| key.name).collect();
    assert_eq!(shown, table);
}
