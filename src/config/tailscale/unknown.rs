//! Names that begin as those of Tailscale's image do, and are known to nobody.
//!
//! They are warned of, since a misspelt name has no effect. Those of tailscaled itself are not: it inherits them.

use crate::config::tailscale::names;

/// Beginnings of names of tailscaled's own, and of a compiler that has the same.
const PREFIXES: [&str; 3] = ["TS_DEBUG_", "TS_SSH_DISABLE_", "TS_NODE_"];

/// Further names of tailscaled's own (`envknob` in its source), and of tools that come with it.
const KNOBS: &[&str] = &[
    "TS_ALLOW_ADMIN_CONSOLE_REMOTE_UPDATE",
    "TS_ALLOW_DEBUG_IP",
    "TS_ALLOW_SELF_INGRESS",
    "TS_API_KEY",
    "TS_BE_CLI",
    "TS_BIND_TO_INTERFACE_BY_ROUTE",
    "TS_CERT_SHARE_MODE",
    "TS_CONFIGFILE_PATH",
    "TS_DEBUGSYSPOLICY",
    "TS_DERP_DISABLE_RTT_STATS",
    "TS_DISABLE_PORTMAPPER",
    "TS_DISABLE_SSH_SERVER",
    "TS_DISABLE_TAILDROP",
    "TS_DISABLE_UPNP",
    "TS_DISCO_PONG_IPV4_DELAY",
    "TS_DNS_FORWARD_SKIP_TCP_RETRY",
    "TS_ENABLE_RAW_DISCO",
    "TS_FORCE_LINUX_BIND_TO_DEVICE",
    "TS_FORCE_NOISE_443",
    "TS_INTERNAL_APP",
    "TS_LOGS_DIR",
    "TS_LOG_TARGET",
    "TS_LOG_VERBOSITY",
    "TS_NETSTACK_KEEPALIVE_IDLE",
    "TS_NETSTACK_KEEPALIVE_INTERVAL",
    "TS_NO_LOGS_NO_SUPPORT",
    "TS_PANIC_IF_HIT_MAIN_CONTROL",
    "TS_PARENT_DEATH_FD",
    "TS_PERMIT_CERT_UID",
    "TS_PLEASE_PANIC",
    "TS_PORTLIST",
    "TS_TUN_DISABLE_TCP_GRO",
    "TS_TUN_DISABLE_UDP_GRO",
    "TS_USE_CACHED_NETMAP",
    "TS_USE_CONTROL_DIAL_PLAN",
    "TS_WAKE_MAC",
];

/// Returns what is to be said of `variable` where it is known to nobody, with the nearest name that is.
pub fn warning(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("TS_")?;
    let known = names::all();
    if names::find(variable).is_some()
        || known.iter().any(|(name, _)| *name == variable)
        || KNOBS.contains(&variable)
        || PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
    {
        return None;
    }
    let told = known.iter().filter_map(|(name, _)| name.strip_prefix("TS_")).chain(["NO_LOGS_NO_SUPPORT"]);
    let distances =
        told.filter(|name| !name.ends_with('…')).map(|name| (strsim::damerau_levenshtein(rest, name), name));
    let nearest = distances.min().filter(|(distance, name)| *distance <= name.len().max(rest.len()) / 3);
    let hint = nearest.map_or_else(
        || "docs/tailscale-names.md has those that are".to_owned(),
        |(_, nearest)| format!("did you mean TS_{nearest}?"),
    );
    Some(format!("{variable} is known neither here nor to tailscaled, and has no effect: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_meant() {
        for (variable, nearest) in [
            ("TS_AUTHKEYS", "TS_AUTHKEY?"),
            ("TS_HOST_NAME", "TS_HOSTNAME?"),
            ("TS_EXTRA_ARG", "TS_EXTRA_ARGS?"),
            ("TS_STATEDIR", "TS_STATE_DIR?"),
            ("TS_FROBNICATION", "docs/tailscale-names.md"),
        ] {
            assert!(
                warning(variable).is_some_and(|text| text.contains(nearest)),
                "{variable}: {:?}",
                warning(variable)
            );
        }
    }

    #[test]
    fn what_somebody_knows_is_not_warned_of() {
        let own = names::all().into_iter().map(|(name, _)| name.replace('…', "X"));
        for variable in
            own.chain(KNOBS.iter().map(|name| (*name).to_owned())).chain(["TS_DEBUG_MTU".into(), "TSX".into()])
        {
            assert_eq!(warning(&variable), None);
        }
    }
}
