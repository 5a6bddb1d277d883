//! The variables of Tailscale's container image beyond those that are simply another name of a key: what they set
//! here, and which are refused, with the reason and the way out. `docs/tailscale-names.md` shows them all.
//! <https://tailscale.com/kb/1282/docker>

use std::net::SocketAddr;

use super::extra_args;
use super::fault::Fault;
use super::key::KEYS;
use super::layers::Environment;
use super::value::Value;

/// A variable of Tailscale's image. A name that ends with `…` stands for all that begin so.
pub struct Name {
    pub name: &'static str,
    pub means: Means,
}

/// What it does here.
#[derive(Clone, Copy, Debug)]
pub enum Means {
    /// Sets these keys, in its own way.
    Sets(&'static [&'static str]),
    /// Either value is how tetherd works anyway.
    Always,
    /// Cannot be had, but for one value.
    Refused { fine: Fine, why: &'static str, instead: &'static str },
}

/// The value of a refused variable that asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fine {
    Empty,
    /// Empty, or a boolean that is true.
    True,
    /// Empty, or a boolean that is false.
    False,
}

const fn name(name: &'static str, means: Means) -> Name {
    Name { name, means }
}

const fn refused(name: &'static str, fine: Fine, why: &'static str, instead: &'static str) -> Name {
    Name { name, means: Means::Refused { fine, why, instead } }
}

const NEEDS_KERNEL: &str = "changes the kernel's packet filter, which needs privileges tetherd does without";
const PROXY_INSTEAD: &str = "have programs connect through the proxy of socks_listen";
const SERVE_INSTEAD: &str = "forward the ports with a serve_config";
const OPERATOR: &str = "is meant for the proxies of Tailscale's Kubernetes operator";
const NO_OPERATOR: &str = "leave it out; what comes in is forwarded by a serve_config";
const NO_MINTING: &str = "asks for a key made from other credentials, which is not there yet";
const KEY_INSTEAD: &str = "create an auth key and give it in auth_key, auth_key_file or TS_AUTHKEY";

/// All of them but those in [`KEYS`].
pub const NAMES: &[Name] = &[
    name("TS_AUTH_ONCE", Means::Always),
    name("TS_DEBUG_ADDR_PORT", Means::Sets(&["tailscaled_args"])),
    name("TS_ENABLE_HEALTH_CHECK", Means::Sets(&["health_listen"])),
    name("TS_ENABLE_METRICS", Means::Sets(&["health_listen"])),
    name("TS_EXTRA_ARGS", Means::Sets(extra_args::KEYS)),
    name("TS_OUTBOUND_HTTP_PROXY_LISTEN", Means::Sets(&["socks_listen"])),
    refused("TS_USERSPACE", Fine::True, "asks for kernel mode, and tetherd is userspace mode", "leave it out"),
    refused(
        "TS_KUBE_SECRET",
        Fine::Empty,
        "asks for state in a Kubernetes secret, which needs rights at the cluster's API",
        "set it to the empty text, and state_dir to a directory on a volume; or use ephemeral keys and no state",
    ),
    refused("TS_DEST_IP", Fine::Empty, NEEDS_KERNEL, SERVE_INSTEAD),
    refused("TS_TAILNET_TARGET_IP", Fine::Empty, NEEDS_KERNEL, PROXY_INSTEAD),
    refused("TS_TAILNET_TARGET_FQDN", Fine::Empty, NEEDS_KERNEL, PROXY_INSTEAD),
    refused("TS_DEBUG_FIREWALL_MODE", Fine::Empty, NEEDS_KERNEL, "leave it out: there are no firewall rules"),
    refused("TS_TEST_FAKE_NETFILTER", Fine::False, NEEDS_KERNEL, "leave it out: there are no firewall rules"),
    refused("TS_EGRESS_PROXIES_CONFIG_PATH", Fine::Empty, OPERATOR, PROXY_INSTEAD),
    refused("TS_INGRESS_PROXIES_CONFIG_PATH", Fine::Empty, OPERATOR, NO_OPERATOR),
    refused("EXPERIMENTAL_ALLOW_PROXYING_CLUSTER_TRAFFIC_VIA_INGRESS", Fine::False, OPERATOR, NO_OPERATOR),
    refused(
        "TS_EXPERIMENTAL_…",
        Fine::False,
        "switches an experiment of Tailscale's image, which tetherd does not have",
        "leave it out and use the settings that `tetherd --help` lists",
    ),
    refused("TS_CLIENT_ID", Fine::Empty, NO_MINTING, KEY_INSTEAD),
    refused("TS_CLIENT_SECRET", Fine::Empty, NO_MINTING, KEY_INSTEAD),
    refused("TS_ID_TOKEN", Fine::Empty, NO_MINTING, KEY_INSTEAD),
    refused("TS_AUDIENCE", Fine::Empty, NO_MINTING, KEY_INSTEAD),
];

/// Every variable of the image with the keys it sets; none for those that set nothing.
pub fn all() -> Vec<(&'static str, Vec<&'static str>)> {
    let aliases = KEYS.iter().flat_map(|key| key.aliases.iter().map(|alias| (*alias, vec![key.name])));
    let others = NAMES.iter().map(|name| match name.means {
        Means::Sets(keys) => (name.name, keys.to_vec()),
        Means::Always | Means::Refused { .. } => (name.name, Vec::new()),
    });
    aliases.chain(others).collect()
}

/// What a variable, or several together, set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub key: &'static str,
    pub origin: String,
    pub value: String,
}

impl Given {
    pub(super) fn new(key: &'static str, origin: &str, value: impl Into<String>) -> Self {
        Self { key, origin: origin.to_owned(), value: value.into() }
    }
}

/// What [`NAMES`] set in this environment, and what is wrong with them.
pub(super) fn read(environment: &Environment) -> (Vec<Given>, Vec<Fault>) {
    let get = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let (mut given, mut faults) = get("TS_EXTRA_ARGS").map_or_else(Default::default, extra_args::read);
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

impl Name {
    fn is(&self, variable: &str) -> bool {
        self.name.strip_suffix('…').map_or(variable == self.name, |prefix| variable.starts_with(prefix))
    }

    /// Never says the value, which may be a secret.
    fn fault(&self, variable: &str, value: &str) -> Option<Fault> {
        let as_bool = bool::parse(value.trim());
        match self.means {
            _ if value.is_empty() => None,
            Means::Refused { fine: Fine::True, .. } if as_bool == Some(true) => None,
            Means::Refused { fine: Fine::False, .. } if as_bool == Some(false) => None,
            Means::Refused { why, instead, .. } => {
                Some(Fault::new(variable, "environment", format!("{why}: {instead}")))
            }
            Means::Always | Means::Sets(["health_listen"]) if as_bool.is_none() => {
                Some(Fault::new(variable, "environment", format!("is unusable, expected {}", bool::EXPECTED)))
            }
            Means::Always | Means::Sets(_) => None,
        }
    }
}

/// One listener speaks SOCKS5 and HTTP, so the two addresses are one list, and equal ones one listener.
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

/// As the image does: one more argument of tailscaled.
fn debug(arguments: Option<&str>, address: &str) -> Given {
    let before = arguments.map_or_else(String::new, |arguments| format!("{arguments} "));
    Given::new("tailscaled_args", "TS_DEBUG_ADDR_PORT", format!("--debug={address} {before}").trim_end())
}

/// Health and metrics are always served. Asked for, they are where the image has them; explicitly not wanted, they
/// are on loopback alone.
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

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

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
            let Means::Refused { why, instead, fine } = name.means else { continue };
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
            assert!(crate::config::key::find(key).is_some(), "{key}");
        }
    }
}
