//! Translates an environment made for Tailscale's image into settings.
//!
//! It has the variables that say something in a way of their own, alone or together.

use std::net::SocketAddr;

use crate::config::service_links::is_service_link;
use crate::config::tailscale::daemon_args::DaemonArgs;
use crate::config::tailscale::extra_args::{EXTRA_ARGS, ExtraArgs, parse_flags, with_prefix};
use crate::config::tailscale::given::{Given, Translated};
use crate::config::tailscale::names::{self, Meaning};
use crate::config::tailscale::unknown;
use crate::config::types::Value;
use crate::environment::Environment;
use crate::text::bare;

const DAEMON_ARGS: &str = "TS_TAILSCALED_EXTRA_ARGS";

/// Routes that make an exit node.
const EXIT_ROUTES: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// A value, and the name of what gave it.
#[derive(Clone, Debug)]
struct Named {
    name: String,
    value: String,
}

impl Named {
    fn gives(self, key: &'static str) -> Given {
        Given::new(key, &self.name, self.value)
    }

    /// Returns both values as a list of one setting, or one where they are the same.
    fn and(self, other: Self, same: impl Fn(&str, &str) -> bool) -> Self {
        if self.value.split(',').any(|listed| same(listed.trim(), &other.value)) {
            return self;
        }
        Self { name: format!("{} and {}", self.name, other.name), value: format!("{},{}", self.value, other.value) }
    }
}

/// Returns the settings that the variables of the image give, the faults of these variables, and what is to be said of them.
pub fn translate(environment: &Environment) -> Translated {
    let get = |name: &str| environment.get(name).map(|value| bare(value)).filter(|value| !value.is_empty());
    let named = |name: &str| get(name).map(|value| Named { name: name.to_owned(), value: value.to_owned() });
    let mut translated = Translated::default();
    let daemon = get(DAEMON_ARGS).map(|text| DaemonArgs::read(text.split_whitespace()));
    let flag = |name: &str| {
        let found = daemon.as_ref()?.settings.iter().rev().find(|setting| setting.name == name)?;
        Some(Named { name: format!("{DAEMON_ARGS} --{name}"), value: found.value.clone() })
    };
    let tags = named("TS_ADVERTISE_TAGS").map(|tags| Named { value: with_prefix(&tags.value), ..tags }.gives("tags"));
    let state = flag("state").or_else(|| flag("statedir")).map(|state| state.gives("state_dir"));
    let listeners = listeners(
        flag("socks5-server").or_else(|| named("TS_SOCKS5_SERVER")),
        flag("outbound-http-proxy-listen").or_else(|| named("TS_OUTBOUND_HTTP_PROXY_LISTEN")),
    );
    let socket = flag("socket").map(|socket| socket.gives("tailscaled_socket"));
    translated.given.extend([tags, state, socket, listeners, health(&named)].into_iter().flatten());
    if daemon.as_ref().is_some_and(|daemon| daemon.forgets)
        && (get("TS_STATE_DIR").is_some() || flag("statedir").is_some())
    {
        translated
            .warnings
            .push(format!("{DAEMON_ARGS} has --state=mem:, which is left out beside a directory: state_dir counts"));
    }
    arguments(daemon.as_ref(), named("TS_DEBUG_ADDR_PORT"), &mut translated);
    let extra = get(EXTRA_ARGS).map(parse_flags).unwrap_or_default();
    let exit_routes = exit_routes(&extra, named("TS_ROUTES"));
    // In the image, too, flags of TS_EXTRA_ARGS win over variables.
    translated.extend(extra.translated);
    translated.given.extend(exit_routes);
    judge(environment, &mut translated);
    translated
}

/// Returns the one setting of both proxies. One listener speaks SOCKS5 and HTTP, so the two addresses are one list, and
/// equal ones one listener.
fn listeners(socks: Option<Named>, http: Option<Named>) -> Option<Given> {
    let same = |one: &str, other: &str| {
        one == other || SocketAddr::parse(one).is_some_and(|one| SocketAddr::parse(other) == Some(one))
    };
    let both = match (socks, http) {
        (Some(socks), Some(http)) => socks.and(http, same),
        (socks, http) => socks.or(http)?,
    };
    Some(both.gives("socks_listen"))
}

/// Adds tailscaled's arguments, with `--debug` before them, as the image builds them.
fn arguments(daemon: Option<&DaemonArgs>, debug: Option<Named>, translated: &mut Translated) {
    let (is_given, none) = (daemon.is_some(), DaemonArgs::default());
    let daemon = daemon.unwrap_or(&none);
    for fault in &daemon.faults {
        translated.fault(DAEMON_ARGS, fault.as_str());
    }
    if let Some(debug) = debug.as_ref().filter(|debug| SocketAddr::parse(&debug.value).is_none()) {
        return translated
            .fault(&debug.name, "is no address to listen on, expected one such as 127.0.0.1:8080 or [::1]:8080");
    }
    let kept = daemon.kept.join(" ");
    // The image leaves the address out where the arguments have it.
    let debug = debug.filter(|debug| !kept.contains(&debug.value));
    let given = match debug {
        None if !is_given => return,
        Some(debug) => Named { value: format!("--debug={} {kept}", debug.value).trim_end().to_owned(), ..debug },
        None => Named { name: DAEMON_ARGS.to_owned(), value: kept },
    };
    translated.given.push(given.gives("tailscaled_args"));
}

/// Returns where health and metrics are served; they always are. Asked for, they are where the image has them;
/// explicitly not wanted, they are on loopback alone. The older variable for health alone is a place of its own.
fn health(named: &impl Fn(&str) -> Option<Named>) -> Option<Given> {
    let enabled = ["TS_ENABLE_HEALTH_CHECK", "TS_ENABLE_METRICS"].map(named);
    let wants = |wanted| enabled.iter().flatten().find(|enabled| bool::parse(&enabled.value) == Some(wanted));
    let at = |enabled: &Named, address: &str| Named { name: enabled.name.clone(), value: address.to_owned() };
    let local = named("TS_LOCAL_ADDR_PORT").or_else(|| wants(true).map(|enabled| at(enabled, "[::]:9002")));
    let place = match (local, named("TS_HEALTHCHECK_ADDR_PORT")) {
        (Some(local), Some(older)) => local.and(older, |one, other| one == other),
        (local, older) => local.or(older).or_else(|| wants(false).map(|enabled| at(enabled, "127.0.0.1:9002")))?,
    };
    Some(place.gives("health_listen"))
}

/// Returns the routes of a node that offers a way out of the tailnet: those that the flags give, else those of `variable`, and two
/// more.
fn exit_routes(extra: &ExtraArgs, variable: Option<Named>) -> Option<Given> {
    if !extra.advertises_exit_node {
        return None;
    }
    let of_flags = extra.translated.given.iter().rev().find(|given| given.key == "advertise_routes");
    let others = of_flags.map(|given| Named { name: given.origin.clone(), value: given.value.clone() }).or(variable);
    let exit = |value: String| Named { name: format!("{EXTRA_ARGS} --advertise-exit-node"), value };
    let Some(others) = others.filter(|others| !others.value.is_empty()) else {
        return Some(exit(EXIT_ROUTES.join(",")).gives("advertise_routes"));
    };
    let listed = |route: &&&str| !others.value.split(',').any(|other| other.trim() == **route);
    let more: Vec<&str> = EXIT_ROUTES.iter().filter(listed).copied().collect();
    let both = if more.is_empty() { others } else { others.and(exit(more.join(",")), |_, _| false) };
    Some(both.gives("advertise_routes"))
}

/// Adds what is wrong with each variable by itself, and what is to be said of it.
fn judge(environment: &Environment, translated: &mut Translated) {
    let in_kubernetes = environment.contains_key("KUBERNETES_SERVICE_HOST");
    let set = environment.iter().filter(|(_, value)| !bare(value).is_empty());
    for (variable, value) in set {
        let found = names::find(variable);
        translated.faults.extend(found.and_then(|name| name.fault(variable, value)));
        if let Some(Meaning::Told(why)) = found.map(|name| name.means) {
            translated.warnings.push(format!("{variable} {why}"));
        }
        let is_link = in_kubernetes && variable.strip_prefix("TS_").is_some_and(|name| is_service_link(name, value));
        translated.warnings.extend(unknown::warning(variable).filter(|_| !is_link));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::config::tailscale::names::{Fine, NAMES, all};
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
