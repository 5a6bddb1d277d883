//! Translates an environment made for Tailscale's image into settings.
//!
//! It has the variables that say something in a way of their own, alone or together.

use std::net::SocketAddr;

use crate::config::error::ConfigError;
use crate::config::tailscale::extra_args;
use crate::config::tailscale::given::Given;
use crate::config::tailscale::names::NAMES;
use crate::config::types::Value;
use crate::environment::Environment;

/// Returns the settings that the variables of [`NAMES`] give, and the faults of these variables.
pub fn translate(environment: &Environment) -> (Vec<Given>, Vec<ConfigError>) {
    let get = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let (mut given, mut faults) = get("TS_EXTRA_ARGS").map_or_else(Default::default, extra_args::parse_flags);
    given.extend(listeners(get("TS_SOCKS5_SERVER"), get("TS_OUTBOUND_HTTP_PROXY_LISTEN")));
    given.extend(get("TS_DEBUG_ADDR_PORT").map(|address| debug(get("TS_TAILSCALED_EXTRA_ARGS"), address)));
    if get("TS_LOCAL_ADDR_PORT").or(get("TS_HEALTHCHECK_ADDR_PORT")).is_none() {
        given.extend(health(get("TS_ENABLE_HEALTH_CHECK"), get("TS_ENABLE_METRICS")));
    }
    for (variable, value) in environment {
        faults.extend(NAMES.iter().filter(|name| name.is(variable)).find_map(|name| name.fault(variable, value)));
    }
    (given, faults)
}

/// Returns the one setting of both proxy variables. One listener speaks SOCKS5 and HTTP, so the two addresses are one
/// list, and equal ones one listener.
fn listeners(socks: Option<&str>, http: Option<&str>) -> Option<Given> {
    let http = http?;
    let same =
        |one: &str| one == http || SocketAddr::parse(one).is_some_and(|one| SocketAddr::parse(http) == Some(one));
    Some(match socks {
        Some(socks) if socks.split(',').any(|listed| same(listed.trim())) => {
            Given::new("socks_listen", "TS_SOCKS5_SERVER", socks)
        }
        Some(socks) => {
            let both = "TS_SOCKS5_SERVER and TS_OUTBOUND_HTTP_PROXY_LISTEN";
            Given::new("socks_listen", both, format!("{socks},{http}"))
        }
        None => Given::new("socks_listen", "TS_OUTBOUND_HTTP_PROXY_LISTEN", http),
    })
}

/// Returns tailscaled's arguments with `--debug` before them, as the image builds them.
fn debug(arguments: Option<&str>, address: &str) -> Given {
    let before = arguments.map_or_else(String::new, |arguments| format!("{arguments} "));
    Given::new("tailscaled_args", "TS_DEBUG_ADDR_PORT", format!("--debug={address} {before}").trim_end())
}

/// Returns where health and metrics are served; they always are. Asked for, they are where the image has them;
/// explicitly not wanted, they are on loopback alone.
fn health(health: Option<&str>, metrics: Option<&str>) -> Option<Given> {
    let named = [("TS_ENABLE_HEALTH_CHECK", health), ("TS_ENABLE_METRICS", metrics)];
    let wants = |wanted| named.iter().find(|(_, value)| value.and_then(bool::parse) == Some(wanted));
    let given = |(name, _): &(&str, _), address| Given::new("health_listen", name, address);
    wants(true).map(|name| given(name, "[::]:9002")).or_else(|| wants(false).map(|name| given(name, "127.0.0.1:9002")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::config::tailscale::names::{Fine, Meaning, all};
    use crate::environment::environment;

    /// What `check` shows for a key.
    fn shown(pairs: &[(&str, &str)], key: &str) -> String {
        let config = load(&environment(pairs), None, &vec![]);
        assert!(config.settings.is_ok(), "{pairs:?}: {:?}", config.settings);
        config.shown.into_iter().find(|shown| shown.key == key).expect("is shown").value
    }

    fn faults(pairs: &[(&str, &str)]) -> String {
        load(&environment(pairs), None, &vec![]).settings.expect_err("is refused").to_string()
    }

    #[test]
    fn each_variable_sets_its_key() {
        for (variable, value, key, is) in [
            ("TS_AUTHKEY", "k", "auth_key", "***"),
            ("TS_AUTH_KEY", "k", "auth_key", "***"),
            ("TS_HOSTNAME", "app", "hostname", "app"),
            ("TS_ROUTES", "10.0.0.0/8,fd00::/8", "advertise_routes", "10.0.0.0/8,fd00::/8"),
            ("TS_ACCEPT_DNS", "false", "accept_dns", "false"),
            ("TS_EXIT_NODE", "gw", "exit_node", "gw"),
            ("TS_TAILSCALED_EXTRA_ARGS", "--verbose=1", "tailscaled_args", "--verbose=1"),
            ("TS_DEBUG_ADDR_PORT", "127.0.0.1:1", "tailscaled_args", "--debug=127.0.0.1:1"),
            ("TS_SOCKS5_SERVER", "localhost:1", "socks_listen", "localhost:1"),
            ("TS_OUTBOUND_HTTP_PROXY_LISTEN", "127.0.0.1:2", "socks_listen", "127.0.0.1:2"),
            ("TS_STATE_DIR", "/state", "state_dir", "/state"),
            ("TS_SOCKET", "/tmp/t.sock", "tailscaled_socket", "/tmp/t.sock"),
            ("TS_LOCAL_ADDR_PORT", "[::]:1", "health_listen", "[::]:1"),
            ("TS_HEALTHCHECK_ADDR_PORT", "0.0.0.0:1", "health_listen", "0.0.0.0:1"),
            ("TS_ENABLE_HEALTH_CHECK", "true", "health_listen", "[::]:9002"),
            ("TS_ENABLE_METRICS", "1", "health_listen", "[::]:9002"),
            ("TS_ENABLE_METRICS", "false", "health_listen", "127.0.0.1:9002"),
            ("TS_BOOT_TIMEOUT", "1m30s", "start_timeout", "1m30s"),
        ] {
            assert_eq!(shown(&[(variable, value)], key), is, "{variable}={value}");
        }
        let extra =
            [("TS_EXTRA_ARGS", "--login-server=https://h.example --advertise-tags tag:a,tag:b --accept-routes")];
        assert_eq!(shown(&extra, "control_url"), "https://h.example");
        assert_eq!(shown(&extra, "tags"), "tag:a,tag:b");
        assert_eq!(shown(&extra, "accept_routes"), "true");
    }

    #[test]
    fn variables_that_belong_together_are_taken_together() {
        let both = |socks, http| {
            shown(&[("TS_SOCKS5_SERVER", socks), ("TS_OUTBOUND_HTTP_PROXY_LISTEN", http)], "socks_listen")
        };
        assert_eq!(both("localhost:1055", "127.0.0.1:1055"), "localhost:1055", "one listener");
        assert_eq!(both("localhost:1055", "localhost:1056"), "localhost:1055,localhost:1056");
        let pair = [("TS_HOSTNAME", "a"), ("TS_EXTRA_ARGS", "--hostname=b")];
        assert_eq!(shown(&pair, "hostname"), "b", "extra arguments win, as in the image");
        let arguments = [("TS_TAILSCALED_EXTRA_ARGS", "--verbose=1"), ("TS_DEBUG_ADDR_PORT", ":1")];
        assert_eq!(shown(&arguments, "tailscaled_args"), "--debug=:1 --verbose=1");
        let health = [("TS_ENABLE_METRICS", "true"), ("TS_LOCAL_ADDR_PORT", "127.0.0.1:1")];
        assert_eq!(shown(&health, "health_listen"), "127.0.0.1:1");
        let own = [("TS_ENABLE_METRICS", "true"), ("TETHERD_HEALTH_LISTEN", "127.0.0.1:1")];
        assert_eq!(shown(&own, "health_listen"), "127.0.0.1:1");
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_name_with_the_reason_and_the_way_out() {
        for name in NAMES {
            let Meaning::Refused { why, instead, fine } = name.means else { continue };
            let variable = name.name.replace('…', "ANYTHING");
            let value = if fine == Fine::True { "false" } else { "tskey-not-shown" };
            let text = faults(&[(&variable, value)]);
            assert!(text.contains(&variable) && text.contains(why) && text.contains(instead), "{text}");
            assert!(!text.contains("tskey-not-shown"), "{text}");
        }
    }

    #[test]
    fn values_that_ask_for_nothing_special_are_fine() {
        for (variable, value) in [
            ("TS_USERSPACE", "true"),
            ("TS_USERSPACE", ""),
            ("TS_AUTH_ONCE", "true"),
            ("TS_AUTH_ONCE", "false"),
            ("TS_KUBE_SECRET", ""),
            ("TS_DEST_IP", ""),
            ("TS_EXPERIMENTAL_ENABLE_FORWARDING_OPTIMIZATIONS", "false"),
            ("TS_DEBUG_MTU", "1200"),
            ("TS_LOGS_DIR", "/logs"),
            ("TS_NO_LOGS_NO_SUPPORT", "true"),
        ] {
            shown(&[(variable, value)], "hostname");
        }
        assert!(faults(&[("TS_AUTH_ONCE", "maybe")]).contains("TS_AUTH_ONCE"));
        assert!(faults(&[("TS_ENABLE_METRICS", "maybe")]).contains("true or false"));
    }

    #[test]
    fn every_name_stands_once_and_sets_known_keys() {
        let mut names: Vec<_> = all().into_iter().map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for key in all().into_iter().flat_map(|(_, keys)| keys) {
            assert!(crate::config::table::find_key(key).is_some(), "{key}");
        }
    }
}
