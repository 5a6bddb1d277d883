//! Settings that are one of a few fixed words.

use crate::config::types::Value;

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" | "on" => Some(true),
            "false" | "f" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

/// Declares an enum whose variants are written as fixed words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $expected:literal: $($variant:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),+ }

        impl Value for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                match text.to_ascii_lowercase().as_str() {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

words!(
    /// Treatment of targets that are not in the tailnet.
    Direct, "allow or deny": Allow = "allow", Deny = "deny");
words!(
    /// Treatment of targets of this machine and its networks. `Auto`: denied to clients that come by a listener which other
    /// machines reach, since this machine's services trust what comes from within.
    LocalTargetSetting, "auto, allow or deny": Auto = "auto", Allow = "allow", Deny = "deny");
words!(
    /// Whether the node leaves the tailnet at exit.
    LogoutSetting, "auto, always or never": Auto = "auto", Always = "always", Never = "never");
words!(
    /// Form of the proxy's address in `ALL_PROXY` of programs. `Off`: the variable is not set.
    AllProxy, "http, socks5h or off": Http = "http", Socks5h = "socks5h", Off = "off");
words!(
    /// What a Lambda function does whose extension fails.
    OnFailure, "fail or continue": Fail = "fail", Continue = "continue");
words!(
    /// Least severity of log lines.
    LogLevel, "error, warn, info, debug or trace":
    Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace");
words!(
    /// Clients' connections that the log has a line about.
    AccessLog, "off, failures or all": Off = "off", Failures = "failures", All = "all");
words!(
    /// Form of log lines.
    LogFormat, "text or json": Text = "text", Json = "json");
