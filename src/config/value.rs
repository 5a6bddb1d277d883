//! How a setting's text becomes a typed value. Each type says what it expects, for the error message.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// A type that a setting can have.
pub trait Value: Sized {
    /// What would be right, to stand after "expected".
    const EXPECTED: &'static str;

    /// `None` when `text` is not usable.
    fn parse(text: &str) -> Option<Self>;
}

impl Value for String {
    const EXPECTED: &'static str = "a text that is not empty";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.to_owned())
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }
}

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

/// More than any connection or start takes; deadlines beyond it cannot be reckoned with.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl Value for Duration {
    const EXPECTED: &'static str = "a time such as 15s, 300ms or 1m";

    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().filter(|time| !time.is_zero() && *time <= LONGEST)
    }
}

/// A time limit that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

impl Value for Limit {
    const EXPECTED: &'static str = "a time such as 15s, 300ms or 1m, or off";

    fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("off") {
            Some(Self(None))
        } else {
            Duration::parse(text).map(|time| Self(Some(time)))
        }
    }
}

/// `host:port` to listen on. An empty host means every address, as in Tailscale's own `:1055`.
impl Value for SocketAddr {
    const EXPECTED: &'static str = "an IP address and a port, such as 127.0.0.1:1055 or [::]:1055";

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let address = match host {
            "" | "*" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
                Some(v6) => IpAddr::V6(v6.parse().ok()?),
                None => IpAddr::V4(host.parse().ok()?),
            },
        };
        Some(SocketAddr::new(address, port.parse().ok()?))
    }
}

/// Where the proxy listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Listen {
    /// The address; a unix socket has none.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether only programs of this machine can connect.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl Value for Listen {
    const EXPECTED: &'static str = "an IP address and a port, such as 127.0.0.1:1055, or the path of a unix socket, such as unix:/run/tetherd.sock";

    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => path.starts_with('/').then(|| Self::Unix(path.into())),
            None => SocketAddr::parse(text).map(Self::Tcp),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: String,
    pub port: u16,
}

impl Value for HostPort {
    const EXPECTED: &'static str = "a host and a port, such as db:5432";

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port })
    }
}

/// A port of this machine that leads to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    pub listen: Listen,
    pub host: String,
    pub port: u16,
}

impl Value for Forward {
    const EXPECTED: &'static str =
        "where to listen, = and the target, such as 127.0.0.1:5432=db:5432 or unix:/run/db.sock=db:5432";

    fn parse(text: &str) -> Option<Self> {
        let (listen, target) = text.split_once('=')?;
        let HostPort { host, port } = HostPort::parse(target)?;
        Some(Self { listen: Listen::parse(listen)?, host, port })
    }
}

/// A number of at least one.
impl Value for NonZeroUsize {
    const EXPECTED: &'static str = "a whole number of at least 1";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// The control server's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlUrl(pub String);

impl Value for ControlUrl {
    const EXPECTED: &'static str = "an address such as https://headscale.example.com";

    fn parse(text: &str) -> Option<Self> {
        let uri: hyper::Uri = text.parse().ok()?;
        let web = matches!(uri.scheme_str(), Some("https" | "http"));
        // tailscaled appends its own paths and does not cope with a slash at the end.
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        (web && !has_user && uri.host().is_some_and(|host| !host.is_empty()))
            .then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

/// RFC 1035, section 2.3.4.
pub const LONGEST_LABEL: usize = 63;

/// A node's host name: one DNS label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname(pub String);

impl Value for Hostname {
    const EXPECTED: &'static str = "one name of letters, digits and dashes, at most 63, without dots";

    fn parse(text: &str) -> Option<Self> {
        let fits = (1..=LONGEST_LABEL).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !text.starts_with('-')
            && !text.ends_with('-');
        fits.then(|| Self(text.to_owned()))
    }
}

/// Arguments for tailscaled, separated by white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl Value for Words {
    const EXPECTED: &'static str = "arguments separated by spaces";

    fn parse(text: &str) -> Option<Self> {
        Some(Self(text.split_whitespace().map(str::to_owned).collect()))
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
    /// Targets outside the tailnet.
    Direct, "allow or deny": Allow = "allow", Deny = "deny");
words!(
    /// Whether the node leaves the tailnet at exit.
    Logout, "auto, always or never": Auto = "auto", Always = "always", Never = "never");
words!(
    /// What a Lambda function does whose extension fails.
    OnFailure, "fail or continue": Fail = "fail", Continue = "continue");
words!(LogLevel, "error, warn, info, debug or trace":
    Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace");
words!(LogFormat, "text or json": Text = "text", Json = "json");

/// An amount of memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub u64);

const UNITS: [(&str, u64); 6] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

impl Value for Memory {
    const EXPECTED: &'static str = "an amount of memory such as 100MiB";

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))?;
        let bytes = number.trim().parse::<u64>().ok()?.checked_mul(unit)?;
        (bytes > 0).then_some(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_a_length() {
        assert_eq!(Duration::parse("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(Duration::parse("soon"), None);
        assert_eq!(Duration::parse("0s"), None);
        assert_eq!(Duration::parse("500000000000years"), None);
        assert_eq!(Limit::parse("off"), Some(Limit(None)));
        assert_eq!(Duration::parse("off"), None);
    }

    #[test]
    fn memory_needs_a_unit() {
        assert_eq!(Memory::parse("100MiB"), Some(Memory(100 << 20)));
        assert_eq!(Memory::parse("1 GB"), Some(Memory(1_000_000_000)));
        assert_eq!(Memory::parse("100"), None);
        assert_eq!(Memory::parse("99999999999999GiB"), None);
    }

    #[test]
    fn listen_addresses_take_tailscales_forms() {
        assert_eq!(SocketAddr::parse(":1055"), "[::]:1055".parse().ok());
        assert_eq!(SocketAddr::parse("localhost:1055"), "127.0.0.1:1055".parse().ok());
        assert_eq!(SocketAddr::parse("[::1]:0"), "[::1]:0".parse().ok());
        assert_eq!(SocketAddr::parse("1055"), None);
        assert_eq!(SocketAddr::parse("db:1055"), None);
        assert_eq!(SocketAddr::parse("127.0.0.1:65536"), None);
    }

    #[test]
    fn listeners_are_addresses_or_paths() {
        assert_eq!(Listen::parse("unix:/run/t.sock"), Some(Listen::Unix("/run/t.sock".into())));
        assert_eq!(Listen::parse("unix:t.sock"), None);
        assert!(Listen::parse("127.0.0.1:1055").is_some_and(|listen| listen.is_private()));
        assert!(Listen::parse(":1055").is_some_and(|listen| !listen.is_private()));
    }

    #[test]
    fn forwards_name_both_ends() {
        let forward = Forward::parse("127.0.0.1:5432=db:5433").expect("is one");
        assert_eq!((forward.host.as_str(), forward.port), ("db", 5433));
        assert_eq!(Forward::parse("unix:/run/db.sock=[fd7a::1]:1").expect("is one").host, "fd7a::1");
        for text in ["127.0.0.1:5432", "5432=db:5432", "127.0.0.1:5432=db", "127.0.0.1:5432=:5432", "127.0.0.1:1=db:0"]
        {
            assert_eq!(Forward::parse(text), None, "{text}");
        }
    }

    #[test]
    fn control_urls_are_web_addresses() {
        assert_eq!(ControlUrl::parse("https://h.example/"), Some(ControlUrl("https://h.example".into())));
        assert_eq!(ControlUrl::parse("h.example"), None);
        assert_eq!(ControlUrl::parse("https://user:pass@h.example"), None);
        assert_eq!(ControlUrl::parse("ftp://h.example"), None);
    }

    #[test]
    fn host_names_are_one_label() {
        assert!(Hostname::parse("web-1").is_some());
        assert!(Hostname::parse("web.example").is_none());
        assert!(Hostname::parse("-web").is_none());
        assert!(Hostname::parse("").is_none());
    }
}
