//! `TS_EXTRA_ARGS`: flags of `tailscale up` and `tailscale set`, as settings.
//!
//! A flag that cannot be had is a fault that names it. Values are never repeated: an auth key may be among them.

use crate::config::tailscale::given::{Given, Translated};
use crate::config::tailscale::go_flags::{self, Word};
use crate::config::tailscale::up_flags::{self, Effect, FLAGS, Flag};
use crate::config::types::Value;

/// The variable.
pub const EXTRA_ARGS: &str = "TS_EXTRA_ARGS";

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
    "exit_node_allow_lan_access",
    "oauth_client_id",
    "oauth_client_secret",
    "id_token",
    "id_token_audience",
    "start_timeout",
];

/// What the flags give.
#[derive(Debug, Default)]
pub struct ExtraArgs {
    pub translated: Translated,
    /// Whether the node offers a way out of the tailnet.
    pub advertises_exit_node: bool,
}

/// Reads the flags in `text`.
pub fn parse_flags(text: &str) -> ExtraArgs {
    let mut read = ExtraArgs::default();
    for word in go_flags::read(text.split_whitespace(), |name| up_flags::find(name).is_some_and(|flag| flag.is_switch))
    {
        match word {
            Word::Stray => read.fault("holds a word that belongs to no flag; write --flag=value"),
            Word::Flag { name, value } => match up_flags::find(name) {
                None => read.fault(unknown(name)),
                Some(flag) => match value.or(flag.is_switch.then_some("true")) {
                    None => read.fault(format!("has --{name} without a value; write --{name}=value")),
                    Some(value) => read.apply(flag, value),
                },
            },
        }
    }
    read
}

impl ExtraArgs {
    fn apply(&mut self, flag: &Flag, value: &str) {
        let name = flag.name;
        let on = bool::parse(value);
        if flag.is_switch && on.is_none() {
            return self.fault(format!("has --{name} with a value that is not {}", bool::EXPECTED));
        }
        match flag.effect {
            Effect::Nothing => {}
            Effect::Unmet { said_if, why } if on == Some(said_if) => {
                let told = format!("{EXTRA_ARGS} has --{name}, which has no effect in userspace mode: {why}");
                self.translated.warnings.push(told);
            }
            Effect::Unmet { .. } => {}
            Effect::ExitNode => self.advertises_exit_node = on == Some(true),
            Effect::Refused(_) if value.is_empty() || on == Some(false) => {}
            Effect::Refused(instead) => self.fault(format!("has --{name}, which has no setting here: {instead}")),
            // An empty value means none, as for `tailscale up`.
            Effect::Gives(key) if value.is_empty() && !matches!(key, "tags" | "advertise_routes") => {}
            Effect::Gives(key) => {
                let value = match key {
                    "tags" => with_prefix(value),
                    "start_timeout" if is_zero(value) => "off".to_owned(),
                    _ => value.to_owned(),
                };
                self.translated.given.push(Given::new(key, &format!("{EXTRA_ARGS} --{name}"), value));
            }
        }
    }

    fn fault(&mut self, problem: impl Into<String>) {
        self.translated.fault(EXTRA_ARGS, problem);
    }
}

/// Returns a list of tags with `tag:` before those that have no prefix, as `tailscale up` takes them.
pub fn with_prefix(tags: &str) -> String {
    let prefixed = tags
        .split(',')
        .map(str::trim)
        .map(|tag| if tag.is_empty() || tag.contains(':') { tag.to_owned() } else { format!("tag:{tag}") });
    prefixed.collect::<Vec<_>>().join(",")
}

/// Whether a time in Go's form is none, which means no limit: `0`, `0s`, `0m0s`.
fn is_zero(time: &str) -> bool {
    time.contains('0') && !time.contains(|c: char| ('1'..='9').contains(&c))
}

fn unknown(name: &str) -> String {
    let settable = FLAGS.iter().filter(|flag| matches!(flag.effect, Effect::Gives(_) | Effect::ExitNode));
    let names: Vec<String> = settable.map(|flag| format!("--{}", flag.name)).collect();
    format!("has --{name}, which is not known here: there are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Vec<(&'static str, String)> {
        let ExtraArgs { translated, .. } = parse_flags(text);
        assert_eq!(translated.faults, [], "{text}");
        translated.given.into_iter().map(|given| (given.key, given.value)).collect()
    }

    fn faults(text: &str) -> String {
        let faults = parse_flags(text).translated.faults;
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_flag_sets_its_key_in_both_forms() {
        for flag in FLAGS {
            let Effect::Gives(key) = flag.effect else { continue };
            assert!(SETTABLE_KEYS.contains(&key));
            let name = flag.name;
            if flag.is_switch {
                assert_eq!(given(&format!("--{name}=f -{name}")), [(key, "f".to_owned()), (key, "true".to_owned())]);
            } else {
                let value = if key == "tags" { "tag:x" } else { "x" };
                assert_eq!(
                    given(&format!("--{name}=x  -{name}   x ")),
                    [(key, value.to_owned()), (key, value.to_owned())]
                );
            }
        }
        assert_eq!(given("--exit-node= --hostname= --relay-server-port="), []);
        assert_eq!(given("--advertise-routes="), [("advertise_routes", String::new())]);
    }

    #[test]
    fn what_cannot_be_had_is_named_with_the_way_out_and_no_value_is_repeated() {
        for flag in FLAGS {
            let Effect::Refused(instead) = flag.effect else { continue };
            let text = faults(&format!("--{}=1", flag.name));
            assert!(text.contains(&format!("--{}", flag.name)) && text.contains(instead), "{text}");
        }
        assert!(faults("--frobnicate").contains("--login-server"));
        assert!(faults("--hostname").contains("--hostname without a value"));
        assert!(faults("--hostname --reset").contains("--hostname without a value"));
        for secret in ["--accept-dns tskey-1", "tskey-1", "--auth=tskey-1", "--authkey= tskey-1", "--ssh=tskey-1"] {
            let text = faults(secret);
            assert!(!text.is_empty() && !text.contains("tskey-1"), "{secret}: {text}");
        }
    }

    #[test]
    fn no_time_is_no_limit() {
        for (text, is) in [("0", "off"), ("0s", "off"), ("0h0m0.0s", "off"), ("10s", "10s"), ("s", "s")] {
            assert_eq!(given(&format!("--timeout={text}")), [("start_timeout", is.to_owned())]);
        }
    }
}
