//! Tests that the table finds what is open, and nothing where nothing is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::cli::configure;
use crate::environment::environment;

/// What is open with these variables, a line each.
fn open(pairs: &[(&str, &str)], is_root: bool) -> Vec<String> {
    let environment = environment(pairs);
    let configured = configure::load(&environment, None, &vec![], None);
    let config = &configured.config;
    let settings = config.settings.as_ref().unwrap_or_else(|faults| panic!("{pairs:?}: {faults}"));
    let facts = Facts { is_root, ..Facts::new(settings, &config.shown, &environment) };
    openings(&facts, |_| true).iter().map(Opening::to_string).collect()
}

const PASSWORD: [(&str, &str); 2] = [("TETHERD_SOCKS_USER", "app"), ("TETHERD_SOCKS_PASSWORD_FILE", "PASSWORD")];
const BALANCED: (&str, &str) = ("TETHERD_PROXY_PROTOCOL", "127.0.0.1:1055");
const NETWORK: (&str, &str) = ("TETHERD_SOCKS_LISTEN", "127.0.0.1:1,0.0.0.0:1055,[fd00::1]:1055,unix:/run/t.sock");
const OPEN: (&str, &str) = ("TETHERD_ALLOW_OPEN_PROXY", "true");
const DENY: (&str, &str) = ("TETHERD_DIRECT", "deny");
/// In the rows below, what is replaced by paths of the test's.
const FILES: [&str; 7] = ["PASSWORD", "SHORT", "SERVE", "AUTH", "AWS", "SCRIPT", "SHARED"];

#[test]
fn nothing_is_open_by_default_or_where_all_is_closed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("UTF-8").to_owned();
    fs::write(path("secret"), "tskey-client-a-b").expect("written");
    let (secret, in_file) = (path("secret"), format!("file:{}", path("secret")));
    let (state, socket) = (path("state"), path("t.sock"));
    for pairs in [
        &[][..],
        &[("TETHERD_AUTH_KEY_FILE", secret.as_str()), ("TETHERD_TAGS", "tag:web")],
        &[("TS_AUTHKEY", in_file.as_str()), ("TETHERD_TAGS", "tag:web")],
        &[("TETHERD_STATE_DIR", state.as_str()), ("TETHERD_TAILSCALED_SOCKET", socket.as_str())],
        &[("TETHERD_ALLOW", "web,*.corp.example,db:5432,10.0.0.7:5432,203.0.113.0/24:443,100.64.0.7")],
        &[("TETHERD_CONTROL_URL", "http://127.0.0.1:8080"), OPEN],
        &[("TETHERD_HEALTH_LISTEN", "[::1]:9002"), ("TETHERD_FORWARDS", "127.0.0.1:1=db:1,unix:/run/db.sock=db:1")],
    ] {
        assert_eq!(open(pairs, false), Vec::<String>::new(), "{pairs:?}");
    }
}

/// Variables, the row's setting, words of what it says, and how many such lines there are.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, usize);

#[test]
fn every_way_to_leave_something_open_is_found() {
    let cases: [Case<'_>; 51] = [
        (&[("TETHERD_DENY", "secret,100.64.0.2")], "deny", "1 IPv4 and 0 IPv6 addresses", 1),
        (&[("TETHERD_DENY", "fd7a:115c:a1e0::2")], "deny", "0 IPv4 and 1 IPv6 addresses", 1),
        (&[("TETHERD_DENY", "100.64.0.2,[fd7a:115c:a1e0::2],10.0.0.7,100.64.0.0/10")], "deny", "addresses", 0),
        (&[NETWORK, DENY, PASSWORD[0], PASSWORD[1]], "socks_listen", "in clear at 0.0.0.0:1055", 1),
        (&[NETWORK, DENY, PASSWORD[0], PASSWORD[1]], "socks_listen", "in clear at", 2),
        (&[PASSWORD[0], ("TETHERD_SOCKS_PASSWORD_FILE", "SHORT")], "socks_password", "fewer than 12 characters", 1),
        (&[NETWORK, DENY, OPEN], "allow_open_proxy", "0.0.0.0:1055 asks for no password", 1),
        (&[NETWORK, DENY, OPEN], "allow_open_proxy", "asks for no password", 2),
        (&[("TETHERD_FORWARDS", ":5432=db:5432"), OPEN], "forwards", "[::]:5432 leads to db:5432 without", 1),
        (&[BALANCED, OPEN], "allow_open_proxy", "127.0.0.1:1055 asks for no password", 1),
        (&[BALANCED, OPEN], "direct", "are dialled for clients of 127.0.0.1:1055", 1),
        (&[BALANCED, OPEN, ("TETHERD_LOOPBACK", "allow")], "loopback", "clients of 127.0.0.1:1055 reach what", 1),
        (&[BALANCED, PASSWORD[0], PASSWORD[1]], "socks_listen", "in clear", 0),
        (
            &[("TETHERD_FORWARDS", "127.0.0.1:1=db:1"), ("TETHERD_PROXY_PROTOCOL", "127.0.0.1:1"), OPEN],
            "forwards",
            "127.0.0.1:1 leads to db:1 without",
            1,
        ),
        (&[("TETHERD_DNS_LISTEN", ":53"), OPEN], "dns_listen", "[::]:53 tells names", 1),
        (&[("TETHERD_HEALTH_LISTEN", ":9002")], "health_listen", "[::]:9002 tells", 1),
        (&[("TS_LOCAL_ADDR_PORT", "10.0.0.1:9002")], "health_listen", "10.0.0.1:9002 tells", 1),
        (&[("TETHERD_SHIELDS_UP", "false")], "shields_up", "which reach all that listens on loopback", 1),
        (&[("TS_EXTRA_ARGS", "--shields-up=false")], "shields_up", "which reach all that listens", 1),
        (&[("TS_SERVE_CONFIG", "SERVE")], "shields_up", "for what serve_config serves", 1),
        (&[("TS_ROUTES", "10.0.0.0/8")], "shields_up", "for the networks of advertise_routes", 1),
        (&[("TETHERD_CONTROL_URL", "http://headscale:8080")], "control_url", "at http://headscale:8080", 1),
        (&[("TS_EXTRA_ARGS", "--login-server=http://h.example")], "control_url", "at http://h.example", 1),
        (&[("TETHERD_LOG_UPLOAD", "true")], "log_upload", "are uploaded", 1),
        (&[NETWORK, OPEN], "direct", "are dialled for clients of 0.0.0.0:1055", 1),
        (&[NETWORK, OPEN], "direct", "are dialled for clients of", 2),
        (
            &[NETWORK, OPEN, ("TETHERD_LOOPBACK", "allow")],
            "loopback",
            "clients of [fd00::1]:1055 reach what listens",
            1,
        ),
        (&[NETWORK, OPEN, ("TETHERD_PRIVATE", "allow")], "private", "reach the private networks", 2),
        (&[NETWORK, OPEN, ("TETHERD_PRIVATE", "deny")], "private", "reach", 0),
        (&[NETWORK, OPEN, DENY, ("TETHERD_PRIVATE", "allow")], "private", "reach", 0),
        (&[("TETHERD_ALLOW", "0.0.0.0/0:443,::/0,8.0.0.0/8,2000::/3")], "allow", "is wide", 4),
        (&[("TETHERD_ALLOW", "*.com,*.example.com")], "allow", "*.com is wide", 1),
        (&[("TETHERD_ALLOW", "10.0.0.0/24,192.168.1.0/24:80-90,fd12::/64,127.0.0.0/30")], "allow", "private", 4),
        (&[("TETHERD_ALLOW", "0.0.0.0/0:80,::/0")], "allow", "opens private", 2),
        (&[("TETHERD_ALLOW", "169.254.169.254:80")], "allow", "169.254.169.254/32:80 opens metadata", 1),
        (&[("TETHERD_ALLOW", "[fd00:ec2::254]:80,168.63.129.16,fe80::/10")], "allow", "opens metadata", 3),
        (&[("TETHERD_CONFINE", "false")], "confine", "(confine = false)", 1),
        (&[("TS_TAILSCALED_EXTRA_ARGS", "--verbose=1")], "confine", "(tailscaled_args", 1),
        (&[("TETHERD_TAILSCALED_PATH", "SCRIPT")], "confine", "is a script", 1),
        (&[("TETHERD_AUTH_SECRET", "ts"), ("AWS_CONFIG_FILE", "AWS")], "confine", "has a credential_process", 1),
        (&[("TS_AUTHKEY", "file:AUTH"), ("AWS_CONFIG_FILE", "AWS")], "confine", "has a credential_process", 0),
        (&[("TETHERD_STATE_DIR", "SHARED")], "state_dir", "may be written to by every user", 1),
        (&[("TS_SOCKET", "SHARED/t.sock")], "tailscaled_socket", "may be written to by every user", 1),
        (&[("TETHERD_AUTH_KEY", "tskey-auth-a-b")], "secrets", "auth_key stands in the variable TETHERD_AUTH_KEY", 1),
        (&[("TS_AUTHKEY", "tskey-auth-a-b")], "secrets", "auth_key stands in the variable TS_AUTHKEY", 1),
        (&[("TS_EXTRA_ARGS", "--auth-key=tskey-auth-a-b")], "secrets", "auth_key stands in the variable TS_EXTRA", 1),
        (&[PASSWORD[0], ("TETHERD_SOCKS_PASSWORD", "correct-horse")], "secrets", "socks_password stands", 1),
        (&[("TS_CLIENT_SECRET", "tskey-client-a-b"), ("TETHERD_TAGS", "tag:a")], "secrets", "TS_CLIENT_SECRET", 1),
        (&[("TETHERD_AUTH_KEY_FILE", "AUTH")], "auth_key", "an auth key is stored", 1),
        (&[("TS_AUTHKEY", "file:AUTH")], "auth_key", "an auth key is stored", 1),
        (&[("TS_AUTHKEY", "hskey-auth-0123456789ab-0123")], "auth_key", "an auth key is stored", 1),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let place = |name: &str| directory.path().join(name);
    for (name, text) in [("PASSWORD", "correct-horse-battery"), ("SHORT", "hunter2"), ("AUTH", "tskey-auth-a-b")] {
        fs::write(place(name), text).expect("written");
    }
    fs::write(place("SERVE"), "{}").expect("written");
    fs::write(place("AWS"), "[default]\ncredential_process = /bin/program\n").expect("written");
    fs::write(place("SCRIPT"), "#!/bin/sh\n").expect("written");
    fs::set_permissions(place("SCRIPT"), fs::Permissions::from_mode(0o755)).expect("set");
    fs::create_dir(place("SHARED")).expect("made");
    fs::set_permissions(place("SHARED"), fs::Permissions::from_mode(0o777)).expect("set");
    let located = |value: &str| {
        FILES.iter().fold(value.to_owned(), |value, name| {
            match value.strip_prefix("file:").unwrap_or(&value).split('/').next() {
                Some(first) if first == *name => value.replacen(name, place(name).to_str().expect("UTF-8"), 1),
                _ => value,
            }
        })
    };
    for (pairs, about, words, count) in cases {
        let located: Vec<(&str, String)> = pairs.iter().map(|(name, value)| (*name, located(value))).collect();
        let pairs: Vec<(&str, &str)> = located.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let lines = open(&pairs, false);
        let of_row = lines.iter().filter(|line| line.starts_with(&format!("{about}: ")) && line.contains(words));
        assert_eq!(of_row.count(), count, "{pairs:?}: {words:?} in {lines:#?}");
        assert!(lines.iter().all(|line| line.contains(". Open to: ") && line.contains(". To do: ")), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("tskey-") && !line.contains("correct-horse")), "{lines:?}");
    }
    assert!(open(&[], true).concat().starts_with("user: tetherd and tailscaled run as root"));
}

#[test]
fn a_start_warns_of_what_hardly_anybody_wants() {
    let pairs = [NETWORK, OPEN, PASSWORD[0], ("TETHERD_SOCKS_PASSWORD", "elevenchars"), ("TETHERD_CONFINE", "false")];
    let environment = environment(&pairs);
    let configured = configure::load(&environment, None, &vec![], None);
    let settings = configured.config.settings.as_ref().expect("valid");
    let warned = warnings(&Facts::new(settings, &configured.config.shown, &environment));
    let about: Vec<_> = warned.iter().map(|warning| warning.about).collect();
    assert_eq!(about, ["socks_listen", "socks_listen", "socks_password"]);
}
