//! Tests that every setting can be given through the chart, and arrives.
//!
//! `tetherd check`, run with the environment of the rendered container, shows each value as given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};
use testbed::ca;
use tetherd::config::table::KEYS;

use crate::chart::{only, render, render_example, tetherd};

/// Where the chart mounts files.
const FILES: &str = "/etc/tetherd";
/// No two of these may be given together; each has what it needs beside it.
const SOURCES: [&[&str]; 6] = [
    &["auth_key"],
    &["auth_key_file"],
    &["auth_secret", "auth_secret_field", "auth_secret_stage"],
    &["oauth_client_id", "oauth_client_secret"],
    &["oauth_client_id", "id_token"],
    &["oauth_client_id", "id_token_audience"],
];
const MORE_SOURCES: [&[&str]; 3] =
    [&["oauth_client_secret_file"], &["oauth_client_id", "id_token_file"], &["socks_user", "socks_password_file"]];

/// A value of each setting that is not its default; `file` is one that can be read.
fn value(key: &str, file: &str) -> Value {
    match key {
        "tags" => json!(["tag:web", "tag:shop"]),
        "advertise_routes" => json!(["10.0.0.0/8"]),
        "socks_listen" => json!(["127.0.0.1:1056", "unix:/tmp/proxy.sock"]),
        "dns_listen" => json!(["127.0.0.1:5300"]),
        "dns_upstream" => json!(["10.0.0.2", "[fd00::53]:53"]),
        "forwards" => json!(["127.0.0.1:5432=db:5432"]),
        "proxy_protocol" => json!(["unix:/tmp/proxy.sock", "127.0.0.1:5432"]),
        "prewarm" => json!(["db:5432", "web:80"]),
        "allow" => json!(["*.example.com:443", "10.0.0.0/8"]),
        "deny" => json!("db:22"),
        "udp" | "via" | "accept_dns" | "advertise_services" | "lambda_metrics" => json!(false),
        "accept_routes"
        | "shields_up"
        | "exit_node_required"
        | "exit_node_allow_lan_access"
        | "allow_open_proxy"
        | "log_upload"
        | "confine" => {
            json!(true)
        }
        "max_connections" => json!(1_000_000),
        "memory_limit" => json!("90MiB"),
        "health_listen" => json!("[::]:9003"),
        "direct" | "loopback" | "private" => json!("deny"),
        "logout" => json!("never"),
        "runtime" => json!("plain"),
        "lambda_on_failure" => json!("continue"),
        "log_level" => json!("debug"),
        "log_format" => json!("text"),
        "api_url" | "control_url" => json!("https://headscale.example.com"),
        "ca_file" => json!(format!("{file}.pem")),
        "socks_tls_cert" => json!(format!("{file}-server.pem")),
        "socks_tls_key" => json!(format!("{file}-server.key")),
        "socks_client_ca" => json!(format!("{file}-ca.pem")),
        "users" => json!(format!("{file}-users.toml")),
        "access_log" => json!("all"),
        "env_all_proxy" => json!("socks5h"),
        "serve_config" => json!(format!("{file}.json")),
        _ if key.ends_with("_timeout") => json!("7s"),
        _ if key.ends_with("_file") => json!(file),
        _ if key.ends_with("_path") || key.ends_with("_socket") || key == "state_dir" => json!("/tmp/place"),
        "tailscaled_args" => json!("--verbose=1 --no-logs-no-support"),
        _ => json!(format!("the-{}", key.replace('_', "-"))),
    }
}

/// Environment of the container, with the files of its volumes below `place`.
fn environment(container: &Value, place: &str) -> BTreeMap<String, String> {
    let plain = |variable: &Value| {
        let text = variable["value"].as_str()?.replace(FILES, place);
        Some((variable["name"].as_str()?.to_owned(), text))
    };
    container["env"].as_array().expect("env").iter().filter_map(plain).collect()
}

/// What `tetherd check` says: value and origin by key. It must find nothing wrong.
fn checked(environment: &BTreeMap<String, String>) -> BTreeMap<String, (String, String)> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tetherd")).arg("check").env_clear().envs(environment).output().expect("runs");
    assert!(output.status.success(), "{environment:?}: {}", String::from_utf8_lossy(&output.stderr));
    let line = |line: &str| {
        let (key, rest) = line.split_once(" = ")?;
        let (value, origin) = rest.rsplit_once("  (")?;
        Some((key.trim().to_owned(), (value.to_owned(), origin.trim_end_matches(')').to_owned())))
    };
    String::from_utf8(output.stdout).expect("UTF-8").lines().filter_map(line).collect()
}

/// Renders `keys` and returns those that arrived.
fn arrived(keys: &BTreeSet<&str>) -> BTreeSet<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().display().to_string();
    let file = format!("{place}/file");
    fs::write(&file, "a-text").expect("written");
    fs::write(format!("{file}.json"), "{}").expect("written");
    let hash = "$2y$05$9Ax3TBdYrVsrxPCOkegWFuy0LNb33RcwQWvEciAbO6l2xvlpiwlki";
    fs::write(format!("{file}-users.toml"), format!("[alice]\npassword = \"{hash}\"\n")).expect("written");
    fs::write(format!("{file}.pem"), "-----BEGIN CERTIFICATE-----\n").expect("written");
    ca::write(directory.path(), &[]).expect("certificates");
    for name in ["server.pem", "server.key", "ca.pem"] {
        fs::rename(directory.path().join(name), format!("{file}-{name}")).expect("renamed");
    }
    let config: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), value(key, &file))).collect();
    let values = json!({ "config": config });
    // The Secret as the kubelet would mount it.
    for secret in render(&values).iter().filter(|object| object["kind"] == "Secret") {
        for (key, value) in secret["stringData"].as_object().expect("data") {
            fs::write(format!("{place}/{key}"), value.as_str().expect("a text")).expect("written");
        }
    }
    let objects = render_example(&values);
    let environment = environment(tetherd(only(&objects, "Deployment")), &place);
    let shown = checked(&environment);
    let came = |key: &str| {
        let secret = KEYS.iter().any(|known| known.name == key && known.secret);
        let name = if secret { format!("{key}_file") } else { key.to_owned() };
        let (value, origin) = &shown[&name];
        let expected = match (&config[key], secret) {
            (_, true) => format!("{place}/{key}"),
            (Value::Array(items), _) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
            (Value::String(text), _) => text.clone(),
            (other, _) => other.to_string(),
        };
        let squeezed = value.replace(", ", ",");
        assert_eq!(
            (squeezed.as_str(), origin.as_str()),
            (expected.as_str(), &*format!("TETHERD_{}", name.to_uppercase()))
        );
    };
    keys.iter().for_each(|key| came(key));
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn every_setting_arrives_in_the_sidecar_as_it_was_given() {
    let all: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    let of_sources: BTreeSet<&str> = SOURCES.iter().chain(&MORE_SOURCES).copied().flatten().copied().collect();
    let others: BTreeSet<&str> = all.difference(&of_sources).copied().collect();
    let password = BTreeSet::from(["socks_user", "socks_password"]);
    let mut seen = arrived(&others.iter().chain(&password).copied().chain(["auth_key"]).collect());
    for source in SOURCES.iter().chain(&MORE_SOURCES) {
        let mut keys: BTreeSet<&str> = source.iter().copied().chain(["tags"]).collect();
        if keys.contains("socks_user") {
            keys.insert("auth_key");
        }
        seen.extend(arrived(&keys));
    }
    assert_eq!(seen, all.iter().map(|key| (*key).to_owned()).collect());
}

#[test]
fn secrets_of_config_stand_in_the_secret_alone() {
    let config = json!({ "auth_key": "s3cret-key", "socks_user": "app", "socks_password": "s3cret-word" });
    let objects = render_example(&json!({ "config": config }));
    for object in &objects {
        let text = object.to_string();
        assert_eq!(text.contains("s3cret"), object["kind"] == "Secret", "{text}");
    }
}
