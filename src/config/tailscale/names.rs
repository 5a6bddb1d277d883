//! The variables of Tailscale's container image: what they set, or why they fail.
//!
//! Those that are simply another name of a setting are in the table of settings. A refused one has the reason and the
//! way out. `docs/tailscale-names.md` shows them all.
//! <https://tailscale.com/kb/1282/docker>

use crate::config::error::ConfigError;
use crate::config::table::KEYS;
use crate::config::tailscale::extra_args;
use crate::config::types::Value;
use crate::text::bare;

/// A variable of Tailscale's image. A name that ends with `…` stands for all that begin so.
pub struct Name {
    pub name: &'static str,
    pub means: Meaning,
}

/// Effect of a variable on the settings.
#[derive(Clone, Copy, Debug)]
pub enum Meaning {
    /// Gives these settings, in its own way.
    Sets(&'static [&'static str]),
    /// Has no effect: either value is how tetherd works anyway.
    Always,
    /// Has no effect here, whatever the value: what it asks for is not needed.
    Needless,
    /// Has no effect, which is said unless it is empty.
    Told(&'static str),
    /// Is refused with every value but one.
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

const fn name(name: &'static str, means: Meaning) -> Name {
    Name { name, means }
}

const fn refused(name: &'static str, fine: Fine, why: &'static str, instead: &'static str) -> Name {
    Name { name, means: Meaning::Refused { fine, why, instead } }
}

const NO_SECRET: &str = "names a Secret of Kubernetes for state and key, which is not read or written here, since that needs rights \
    at the cluster's API: state_dir on a volume keeps the state, and TS_AUTHKEY by valueFrom.secretKeyRef gives the key";

const NEEDS_KERNEL: &str = "changes the kernel's packet filter, which needs privileges tetherd does without";
const PROXY_INSTEAD: &str = "have programs connect through the proxy of socks_listen";
const SERVE_INSTEAD: &str = "forward the ports with a serve_config";
const OPERATOR: &str = "is meant for the proxies of Tailscale's Kubernetes operator";
const NO_OPERATOR: &str = "leave it out; what comes in is forwarded by a serve_config";

/// Every variable of the image but those in [`KEYS`].
pub const NAMES: &[Name] = &[
    name("TS_AUTH_ONCE", Meaning::Always),
    name("TS_DEBUG_ADDR_PORT", Meaning::Sets(&["tailscaled_args"])),
    name("TS_ENABLE_HEALTH_CHECK", Meaning::Sets(&["health_listen"])),
    name("TS_ENABLE_METRICS", Meaning::Sets(&["health_listen"])),
    name("TS_EXTRA_ARGS", Meaning::Sets(extra_args::SETTABLE_KEYS)),
    name("TS_OUTBOUND_HTTP_PROXY_LISTEN", Meaning::Sets(&["socks_listen"])),
    refused("TS_USERSPACE", Fine::True, "asks for kernel mode, and tetherd is userspace mode", "leave it out"),
    name("TS_KUBE_SECRET", Meaning::Told(NO_SECRET)),
    name("TS_EXIT_NODE_PING_…", Meaning::Needless),
    name("TS_DEBUG_FIREWALL_MODE", Meaning::Needless),
    name("TS_TEST_…", Meaning::Needless),
    refused("TS_DEST_IP", Fine::Empty, NEEDS_KERNEL, SERVE_INSTEAD),
    refused("TS_TAILNET_TARGET_IP", Fine::Empty, NEEDS_KERNEL, PROXY_INSTEAD),
    refused("TS_TAILNET_TARGET_FQDN", Fine::Empty, NEEDS_KERNEL, PROXY_INSTEAD),
    refused("TS_EGRESS_PROXIES_CONFIG_PATH", Fine::Empty, OPERATOR, PROXY_INSTEAD),
    refused("TS_INGRESS_PROXIES_CONFIG_PATH", Fine::Empty, OPERATOR, NO_OPERATOR),
    refused("EXPERIMENTAL_ALLOW_PROXYING_CLUSTER_TRAFFIC_VIA_INGRESS", Fine::False, OPERATOR, NO_OPERATOR),
    refused(
        "TS_EXPERIMENTAL_…",
        Fine::False,
        "switches an experiment of Tailscale's image, which tetherd does not have",
        "leave it out and use the settings that `tetherd --help` lists",
    ),
];

/// Returns the variable that `variable` is, or that it begins with; `None` for one that is in [`KEYS`].
pub fn find(variable: &str) -> Option<&'static Name> {
    let is_alias = KEYS.iter().any(|key| key.aliases.contains(&variable));
    NAMES.iter().find(|name| name.is(variable)).filter(|_| !is_alias)
}

/// Returns every variable of the image with the settings it gives; none for those that give nothing.
pub fn all() -> Vec<(&'static str, Vec<&'static str>)> {
    let aliases = KEYS.iter().flat_map(|key| key.aliases.iter().map(|alias| (*alias, vec![key.name])));
    let others = NAMES.iter().map(|name| match name.means {
        Meaning::Sets(keys) => (name.name, keys.to_vec()),
        _ => (name.name, Vec::new()),
    });
    aliases.chain(others).collect()
}

impl Name {
    /// Whether `variable` is this name, or begins with it where the name ends with `…`.
    pub fn is(&self, variable: &str) -> bool {
        self.name.strip_suffix('…').map_or(variable == self.name, |prefix| variable.starts_with(prefix))
    }

    /// Returns the fault of `value`, given to `variable`, if it has one. Never quotes the value, which may be a secret.
    pub fn fault(&self, variable: &str, value: &str) -> Option<ConfigError> {
        let as_bool = bool::parse(bare(value));
        match self.means {
            _ if value.is_empty() => None,
            Meaning::Refused { fine: Fine::True, .. } if as_bool == Some(true) => None,
            Meaning::Refused { fine: Fine::False, .. } if as_bool == Some(false) => None,
            Meaning::Refused { fine: Fine::True, .. } if as_bool.is_none() => Some(no_bool(variable)),
            Meaning::Refused { why, instead, .. } => {
                Some(ConfigError::new(variable, "environment", format!("{why}: {instead}")))
            }
            Meaning::Always | Meaning::Sets(["health_listen"]) if as_bool.is_none() => Some(no_bool(variable)),
            Meaning::Always | Meaning::Needless | Meaning::Told(_) | Meaning::Sets(_) => None,
        }
    }
}

fn no_bool(variable: &str) -> ConfigError {
    ConfigError::new(variable, "environment", format!("is unusable, expected {}", bool::EXPECTED))
}
