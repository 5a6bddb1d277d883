//! Whether the control server can be reached at all: asked before tailscaled is told to ask it anew, since that takes
//! the node's connection to it down first.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(2);

/// Tailscale's own, where no other is set.
const DEFAULT: &str = "https://controlplane.tailscale.com";

/// Variables that name a proxy on the way to the control server.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Where the control server listens; `None` behind a proxy.
#[derive(Clone, Debug)]
pub struct ControlProbe(Option<(String, u16)>);

impl ControlProbe {
    /// `url` is empty for Tailscale's own.
    pub fn new(url: &str, has_variable: impl Fn(&str) -> bool) -> Self {
        let proxied = PROXIES.iter().any(|name| has_variable(name));
        let uri: Option<hyper::Uri> = if url.is_empty() { DEFAULT } else { url }.parse().ok();
        let place = uri.filter(|_| !proxied).and_then(|uri| {
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
            Some((uri.host()?.trim_matches(['[', ']']).to_owned(), port))
        });
        Self(place)
    }

    /// Whether it accepts a connection now. Behind a proxy it is taken to do so.
    pub async fn is_reachable(&self) -> bool {
        let Some((host, port)) = &self.0 else { return true };
        matches!(timeout(PATIENCE, TcpStream::connect((host.as_str(), *port))).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_follows_from_the_address() {
        let place = |url| ControlProbe::new(url, |_| false).0.map(|(host, port)| format!("{host} {port}"));
        assert_eq!(place("https://h.example").as_deref(), Some("h.example 443"));
        assert_eq!(place("http://[::1]:8080/x").as_deref(), Some("::1 8080"));
        assert_eq!(place("").as_deref(), Some("controlplane.tailscale.com 443"));
        assert!(ControlProbe::new("https://h.example", |name| name == "HTTPS_PROXY").0.is_none());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nobody_there_is_not_reachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let control = ControlProbe::new(&format!("http://{}", listener.local_addr().expect("address")), |_| false);
        assert!(control.is_reachable().await);
        drop(listener);
        assert!(!control.is_reachable().await);
    }
}
