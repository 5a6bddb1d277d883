//! Addresses to listen on and to connect to, in the forms of other programs.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::types::Value;
use crate::target::host::Target;
use crate::target::port::parse_port;

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
        Some(SocketAddr::new(address, parse_port(port)?))
    }
}

/// Address or path that the proxy listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// Where datagrams are taken; of `forwards` alone.
    Udp(SocketAddr),
}

impl Listen {
    /// Returns the address that connections are taken at; others have none.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Udp(_) => None,
        }
    }

    /// Returns the port; a unix socket has none.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) | Self::Udp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// Whether only programs of this machine can connect.
    pub fn is_private(&self) -> bool {
        match self {
            Self::Tcp(address) | Self::Udp(address) => address.ip().to_canonical().is_loopback(),
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
            Self::Udp(address) => write!(f, "udp:{address}"),
        }
    }
}

/// A target: host and port.
impl Value for Target {
    const EXPECTED: &'static str = "a host and a port, such as db:5432";

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = parse_port(port).filter(|port| *port != 0)?;
        Target::new(host, port).ok()
    }
}

/// A port of this machine that leads to one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    pub listen: Listen,
    pub target: Target,
}

impl Value for Forward {
    const EXPECTED: &'static str = "where to listen, = and the target, such as 127.0.0.1:5432=db:5432, unix:/run/db.sock=db:5432 or udp:127.0.0.1:5353=dns:53";

    fn parse(text: &str) -> Option<Self> {
        let (listen, target) = text.split_once('=')?;
        let listen = match listen.strip_prefix("udp:") {
            Some(address) => Listen::Udp(SocketAddr::parse(address)?),
            None => Listen::parse(listen)?,
        };
        Some(Self { listen, target: Value::parse(target)? })
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
        let port = uri.authority().and_then(|authority| authority.as_str().rsplit_once(':')).map(|(_, port)| port);
        // Behind the last colon of an IPv6 address without a port the bracket stands.
        let fits = port.is_none_or(|port| port.ends_with(']') || parse_port(port).is_some());
        (web && fits && !has_user && uri.host().is_some_and(|host| !host.is_empty()))
            .then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

impl ControlUrl {
    /// Returns the host, a name or an address.
    pub fn host(&self) -> Option<String> {
        let uri: hyper::Uri = self.0.parse().ok()?;
        uri.host().map(str::to_owned)
    }

    /// Whether what is sent there can be read on the way: by plain HTTP to anything but loopback.
    pub fn is_in_the_clear(&self) -> bool {
        let uri: hyper::Uri = self.0.parse().unwrap_or_default();
        uri.scheme_str() != Some("https") && !uri.host().is_some_and(is_loopback_host)
    }
}

/// Whether a host, an address or a name, is this machine by loopback.
pub fn is_loopback_host(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_take_tailscales_forms() {
        assert_eq!(SocketAddr::parse(":1055"), "[::]:1055".parse().ok());
        assert_eq!(SocketAddr::parse("localhost:1055"), "127.0.0.1:1055".parse().ok());
        assert_eq!(SocketAddr::parse("[::1]:0"), "[::1]:0".parse().ok());
        assert_eq!(SocketAddr::parse("1055"), None);
        assert_eq!(SocketAddr::parse("db:1055"), None);
        for port in ["65536", "+80", "080", "", " 80"] {
            assert_eq!(SocketAddr::parse(&format!("127.0.0.1:{port}")), None, "{port}");
        }
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
        assert_eq!(forward.target.to_string(), "db:5433");
        assert_eq!(Forward::parse("unix:/run/db.sock=[fd7a::1]:1").expect("is one").target.to_string(), "[fd7a::1]:1");
        let datagrams = Forward::parse("udp:127.0.0.1:5353=dns.internal:53").expect("is one");
        assert_eq!(datagrams.listen.to_string(), "udp:127.0.0.1:5353");
        assert!(datagrams.listen.is_private() && Listen::parse("udp:127.0.0.1:5353").is_none());
        for text in [
            "127.0.0.1:5432",
            "5432=db:5432",
            "127.0.0.1:5432=db",
            "127.0.0.1:5432=:5432",
            "127.0.0.1:1=db:0",
            "127.0.0.1:1=[db]:1",
            "127.0.0.1:+1=db:1",
            "127.0.0.1:1=db:01",
            "udp:unix:/run/db.sock=db:1",
            "udp:5353=db:1",
            "UDP:127.0.0.1:1=db:1",
        ] {
            assert_eq!(Forward::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_goes_by_plain_http_past_loopback_is_in_the_clear() {
        for (url, clear) in [
            ("https://h.example", false),
            ("HTTPS://h.example", false),
            ("http://h.example", true),
            ("HTTP://h.example:8080/x", true),
            ("http://10.0.0.1", true),
            ("http://[fd00::1]:80", true),
            ("http://127.0.0.1.example", true),
            ("http://localhost.example", true),
            ("http://0.0.0.0", true),
            ("http://127.1.2.3:8080", false),
            ("http://[::1]:8080", false),
            ("http://[::ffff:127.0.0.1]:8080", false),
            ("http://LocalHost:8080", false),
        ] {
            assert_eq!(ControlUrl::parse(url).expect(url).is_in_the_clear(), clear, "{url}");
        }
    }

    #[test]
    fn control_urls_are_web_addresses() {
        assert_eq!(ControlUrl::parse("https://h.example/"), Some(ControlUrl("https://h.example".into())));
        assert!(ControlUrl::parse("http://[fd00::1]").is_some() && ControlUrl::parse("http://[fd00::1]:80").is_some());
        for text in [
            "h.example",
            "https://h.example:+80",
            "https://h.example:080",
            "https://h.example:65536",
            "https://h.example:",
        ] {
            assert_eq!(ControlUrl::parse(text), None, "{text}");
        }
        assert_eq!(ControlUrl::parse("https://user:pass@h.example"), None);
        assert_eq!(ControlUrl::parse("ftp://h.example"), None);
    }
}
