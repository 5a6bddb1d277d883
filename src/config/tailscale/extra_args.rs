//! `TS_EXTRA_ARGS`: flags of `tailscale up` and `tailscale set`, as settings.
//!
//! A flag without a setting here is a fault that names it. Values are never repeated in a fault: an auth key may be
//! among them.

use crate::config::error::ConfigError;
use crate::config::tailscale::given::Given;

/// Names of the settings that the flags can give.
pub const SETTABLE_KEYS: &[&str] = &[
    "auth_key",
    "control_url",
    "hostname",
    "tags",
    "accept_routes",
    "accept_dns",
    "shields_up",
    "advertise_routes",
    "exit_node",
    "oauth_client_id",
    "oauth_client_secret",
    "id_token",
    "id_token_audience",
];

/// Each flag with the name of its setting.
const FLAGS: [(&str, &str); 14] = [
    ("auth-key", "auth_key"),
    ("authkey", "auth_key"),
    ("login-server", "control_url"),
    ("hostname", "hostname"),
    ("advertise-tags", "tags"),
    ("accept-routes", "accept_routes"),
    ("accept-dns", "accept_dns"),
    ("shields-up", "shields_up"),
    ("advertise-routes", "advertise_routes"),
    ("exit-node", "exit_node"),
    ("client-id", "oauth_client_id"),
    ("client-secret", "oauth_client_secret"),
    ("id-token", "id_token"),
    ("audience", "id_token_audience"),
];

/// Boolean flags. Go's parser takes their value only behind a `=`: `--accept-dns false` means true, and a stray word.
const SWITCHES: [&str; 3] = ["accept_routes", "accept_dns", "shields_up"];

/// Advice for flags that people give to the image and that have no setting, because something else does their job.
const INSTEAD: [(&str, &str); 5] = [
    ("advertise-exit-node", "use --advertise-routes=0.0.0.0/0,::/0"),
    ("force-reauth", "leave it out: the node logs in again whenever that is needed"),
    ("reset", "leave it out: all preferences are set at every start"),
    ("snat-subnet-routes", "leave it out: it has no meaning in userspace mode"),
    ("timeout", "use start_timeout"),
];

/// Returns the settings that the flags in `text` give, and the faults of these flags.
pub fn parse_flags(text: &str) -> (Vec<Given>, Vec<ConfigError>) {
    let (mut given, mut faults) = (Vec::new(), Vec::new());
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            faults.push(fault("holds a word that belongs to no flag; write --flag=value"));
            continue;
        };
        let (flag, value) = flag.split_once('=').map_or((flag, None), |(flag, value)| (flag, Some(value)));
        let Some(key) = key_of(flag) else {
            faults.push(unknown(flag));
            continue;
        };
        let mut following = || words.next_if(|word| !word.starts_with('-'));
        match value.or_else(|| if SWITCHES.contains(&key) { Some("true") } else { following() }) {
            // An empty value means none, as for `tailscale up`.
            Some("") if !matches!(key, "tags" | "advertise_routes") => {}
            Some(value) => given.push(Given::new(key, &format!("TS_EXTRA_ARGS --{flag}"), value)),
            None => faults.push(fault(&format!("has --{flag} without a value; write --{flag}=value"))),
        }
    }
    (given, faults)
}

fn key_of(flag: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(name, _)| *name == flag).map(|(_, key)| *key)
}

fn unknown(flag: &str) -> ConfigError {
    let instead = INSTEAD.iter().find(|(name, _)| *name == flag).map_or_else(
        || format!("there are {}", FLAGS.map(|(flag, _)| format!("--{flag}")).join(", ")),
        |(_, instead)| (*instead).to_owned(),
    );
    fault(&format!("has --{flag}, which has no setting here: {instead}"))
}

fn fault(problem: &str) -> ConfigError {
    ConfigError::new("TS_EXTRA_ARGS", "environment", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Vec<(&'static str, String)> {
        let (given, faults) = parse_flags(text);
        assert_eq!(faults, [], "{text}");
        given.into_iter().map(|given| (given.key, given.value)).collect()
    }

    fn faults(text: &str) -> String {
        parse_flags(text).1.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_flag_sets_its_key_in_both_forms() {
        for (flag, key) in FLAGS {
            assert_eq!(given(&format!("--{flag}=x")), [(key, "x".to_owned())]);
            if !SWITCHES.contains(&key) {
                assert_eq!(given(&format!(" --{flag}   x ")), [(key, "x".to_owned())]);
            }
            assert!(SETTABLE_KEYS.contains(&key));
        }
        assert_eq!(given("-hostname=a --accept-routes"), [("hostname", "a".into()), ("accept_routes", "true".into())]);
        assert_eq!(given("--exit-node= --hostname="), []);
        assert_eq!(given("--advertise-routes="), [("advertise_routes", String::new())]);
    }

    #[test]
    fn any_other_flag_is_named_with_the_way_out_and_no_value_is_repeated() {
        let text = faults("--ssh --netfilter-mode=off --reset");
        for part in ["TS_EXTRA_ARGS", "--ssh", "--netfilter-mode", "--login-server", "--reset", "leave it out"] {
            assert!(text.contains(part), "{part:?} is missing in {text:?}");
        }
        assert!(faults("--advertise-exit-node").contains("--advertise-routes=0.0.0.0/0,::/0"));
        assert!(faults("--hostname").contains("--hostname without a value"));
        assert!(faults("--hostname --ssh").contains("--hostname without a value"));
        for secret in ["--accept-dns tskey-1", "tskey-1", "--auth=tskey-1", "--authkey= tskey-1"] {
            let text = faults(secret);
            assert!(!text.is_empty() && !text.contains("tskey-1"), "{secret}: {text}");
        }
    }
}
