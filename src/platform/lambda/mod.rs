//! AWS Lambda: the daemon is an external extension of a function.
//!
//! The daemon has two seconds to end, its settings follow the function's own, and the runtime and the extensions speak
//! with Lambda over an address inside the execution environment.

pub(crate) mod extension_api;
pub(crate) mod lifecycle;

use std::path::Path;
use std::time::Duration;

use crate::config::types::Value;
use crate::config::types::enums::LogLevel;
use crate::config::types::implied::Defaults;
use crate::config::types::node_label::NodeLabel;
use crate::environment::Environment;
use crate::platform::interface::Platform;
use crate::platform::lambda::lifecycle::{ExtensionLifecycle, SHUTDOWN_TIME};
use crate::platform::lifecycle::Lifecycle;

/// Variable with the address of the Runtime API and the Extensions API.
const API: &str = "AWS_LAMBDA_RUNTIME_API";

/// Variable with the name of the function.
const FUNCTION: &str = "AWS_LAMBDA_FUNCTION_NAME";

/// Variable that says how this environment is started: `on-demand`, `provisioned-concurrency`, `snap-start` or
/// `lambda-managed-instances`.
const INITIALIZATION: &str = "AWS_LAMBDA_INITIALIZATION_TYPE";

/// Default of `start_timeout` where an init may take 130 s, or the function's timeout if that is longer: nobody waits for it.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-execution-environment.html>
const LONG_START_TIMEOUT: &str = "2m";

/// Default of `start_timeout`. Lambda ends an init of 10 s without a reason in the log; giving up before lets the
/// daemon log why.
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>
const START_TIMEOUT: &str = "8s";

/// Directory into which a layer of the user's puts CA certificates.
const CA_DIR: &str = "/opt/ssl";

/// The platform of an execution environment of a Lambda function.
pub struct Lambda;

impl Platform for Lambda {
    fn name(&self) -> &'static str {
        "lambda"
    }

    fn detect(&self, environment: &Environment) -> bool {
        environment.contains_key(API)
    }

    /// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
    fn defaults(&self, environment: &Environment) -> Defaults {
        let variable = |name: &str| environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let text = variable("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format.eq_ignore_ascii_case("text"));
        let mut defaults = vec![
            ("log_format", if text { "text" } else { "json" }.to_owned()),
            ("drain_timeout", "300ms".to_owned()),
            ("start_timeout", start_timeout(variable(INITIALIZATION)).to_owned()),
        ];
        // A function's name has up to 64 letters, digits, dashes and underscores.
        let name = variable(FUNCTION).and_then(NodeLabel::near);
        defaults.extend(name.map(|name| ("hostname", name.0)));
        defaults.extend(variable("AWS_LAMBDA_LOG_LEVEL").and_then(log_level).map(|level| ("log_level", level)));
        let memory = variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(memory_limit);
        defaults.extend(memory.map(|size| ("memory_limit", size)));
        defaults
    }

    /// The host of the Runtime API, which no proxy reaches.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
    fn direct_hosts(&self, environment: &Environment) -> Vec<String> {
        let Some(api) = environment.get(API) else { return Vec::new() };
        let host = api.rsplit_once(':').map_or(api.as_str(), |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        [host].into_iter().filter(|host| !host.is_empty()).map(str::to_owned).collect()
    }

    fn ca_dir(&self) -> Option<&'static Path> {
        Some(Path::new(CA_DIR))
    }

    fn stop_grace(&self) -> Duration {
        SHUTDOWN_TIME
    }

    /// Returns `false`: credentials of the function's role are in environment variables.
    fn has_instance_metadata(&self) -> bool {
        false
    }

    fn function(&self, environment: &Environment) -> Option<String> {
        environment.get(FUNCTION).cloned()
    }

    fn lifecycle(&self, environment: &Environment, program: &str, outlasts_failure: bool) -> Box<dyn Lifecycle> {
        let address = environment.get(API).cloned().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or(program);
        let lifecycle = ExtensionLifecycle::new(address, name.to_owned(), outlasts_failure);
        let becomes_snapshot = environment.get(INITIALIZATION).is_some_and(|kind| kind == "snap-start");
        Box::new(if becomes_snapshot { lifecycle.joining_at_first_invocation() } else { lifecycle })
    }
}

/// Returns tailscaled's share of a function's memory. 16 streams of 100 MB through a function of 256 MB peak some 40
/// MiB above the limit; without a limit the function is killed for lack of memory.
fn memory_limit(size_mb: &str) -> Option<String> {
    let size: u64 = size_mb.parse().ok()?;
    Some(format!("{}MiB", (size * 2 / 5).max(32)))
}

/// Returns the default of `start_timeout`. With SnapStart the join is a part of the first invocation.
fn start_timeout(initialization: Option<&str>) -> &'static str {
    match initialization {
        Some("provisioned-concurrency" | "lambda-managed-instances") => LONG_START_TIMEOUT,
        _ => START_TIMEOUT,
    }
}

/// Returns the level for the level of the function's log; `None` for a name that is not known.
fn log_level(name: &str) -> Option<String> {
    let level = name.to_ascii_lowercase();
    let level = if level == "fatal" { "error".to_owned() } else { level };
    LogLevel::parse(&level).map(|_| level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    fn implied_by(pairs: &[(&str, &str)], key: &str) -> Option<String> {
        Lambda.defaults(&environment(pairs)).into_iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    #[test]
    fn logs_follow_the_functions_logging() {
        assert_eq!(implied_by(&[], "log_format").as_deref(), Some("json"));
        assert_eq!(implied_by(&[("AWS_LAMBDA_LOG_FORMAT", "Text")], "log_format").as_deref(), Some("text"));
        assert_eq!(implied_by(&[("AWS_LAMBDA_LOG_FORMAT", "JSON")], "log_format").as_deref(), Some("json"));
        assert_eq!(implied_by(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")], "log_level").as_deref(), Some("error"));
        assert_eq!(implied_by(&[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")], "log_level").as_deref(), Some("debug"));
        assert_eq!(implied_by(&[("AWS_LAMBDA_LOG_LEVEL", "loud")], "log_level"), None);
    }

    #[test]
    fn tailscaled_gets_a_share_of_the_functions_memory() {
        let limit = |size| implied_by(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", size)], "memory_limit");
        assert_eq!(limit("256").as_deref(), Some("102MiB"));
        assert_eq!(limit("x"), None);
    }

    #[test]
    fn a_start_that_nobody_waits_for_has_the_time_that_lambda_gives_it() {
        for (kind, expected) in [
            ("on-demand", "8s"),
            ("snap-start", "8s"),
            ("provisioned-concurrency", "2m"),
            ("lambda-managed-instances", "2m"),
        ] {
            assert_eq!(implied_by(&[(INITIALIZATION, kind)], "start_timeout").as_deref(), Some(expected), "{kind}");
        }
        assert_eq!(implied_by(&[], "start_timeout").as_deref(), Some("8s"));
    }

    #[test]
    fn an_environment_that_becomes_a_snapshot_does_not_join_before_its_first_invocation() {
        let gate = |pairs: &[(&str, &str)]| Lambda.lifecycle(&environment(pairs), "tetherd", false).start_gate();
        assert!(!gate(&[(INITIALIZATION, "snap-start")]).is_open());
        for pairs in [&[][..], &[(INITIALIZATION, "on-demand")], &[(INITIALIZATION, "lambda-managed-instances")]] {
            assert!(gate(pairs).is_open(), "{pairs:?}");
        }
    }

    #[test]
    fn the_node_is_named_after_the_function() {
        for (function, name) in [("my_Func-1", "my-Func-1"), ("_a_", "a")] {
            let host = implied_by(&[("AWS_LAMBDA_FUNCTION_NAME", function)], "hostname");
            assert_eq!(host.expect("a name").to_lowercase(), name.to_lowercase());
        }
        let long = "a".repeat(64);
        assert_eq!(implied_by(&[("AWS_LAMBDA_FUNCTION_NAME", &long)], "hostname").map(|name| name.len()), Some(63));
    }
}
