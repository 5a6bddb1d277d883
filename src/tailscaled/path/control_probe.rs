//! Checks whether the control server can be reached at all.
//!
//! This is done before tailscaled is told to connect to the control server anew, which first closes the node's
//! connection to it.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::environment::{Environment, first_set};

/// How long the control server may take to accept a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Tailscale's control server, for when no other is set.
const TAILSCALE_CONTROL_URL: &str = "https://controlplane.tailscale.com";

/// Variables that name a proxy on the way to the control server, as Go reads them by the scheme of its address.
const HTTPS_PROXY_VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP_PROXY_VARIABLES: [&str; 2] = ["HTTP_PROXY", "http_proxy"];

/// Probes one control server.
#[derive(Clone, Debug)]
pub struct ControlProbe {
    /// Host and port of the control server; `None` behind a proxy.
    address: Option<(String, u16)>,
}

impl ControlProbe {
    /// Probes the control server at `url`, which is empty for Tailscale's own. The environment names the proxy.
    pub fn new(url: &str, environment: &Environment) -> Self {
        let uri: Option<hyper::Uri> = if url.is_empty() { TAILSCALE_CONTROL_URL } else { url }.parse().ok();
        let address = uri.and_then(|uri| {
            let is_plain = uri.scheme_str() == Some("http");
            let variables = if is_plain { HTTP_PROXY_VARIABLES } else { HTTPS_PROXY_VARIABLES };
            let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
            let is_proxied = first_set(environment, variables).is_some();
            (!is_proxied).then_some((uri.host()?.trim_matches(['[', ']']).to_owned(), port))
        });
        Self { address }
    }

    /// Whether the control server accepts a connection within 2 s. Behind a proxy it is taken to do so.
    pub async fn is_reachable(&self) -> bool {
        self.round_trip().await.is_some()
    }

    /// Measures how long the control server takes to accept a connection: one round trip. `None` when it does not within 2 s;
    /// no time at all behind a proxy, where it is not known.
    pub async fn round_trip(&self) -> Option<Duration> {
        let Some((host, port)) = &self.address else { return Some(Duration::ZERO) };
        let began = Instant::now();
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), *port))).await;
        connected.ok()?.ok().map(|_| began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn the_place_follows_from_the_address() {
        let place =
            |url| ControlProbe::new(url, &Environment::new()).address.map(|(host, port)| format!("{host} {port}"));
        assert_eq!(place("https://h.example").as_deref(), Some("h.example 443"));
        assert_eq!(place("http://[::1]:8080/x").as_deref(), Some("::1 8080"));
        assert_eq!(place("").as_deref(), Some("controlplane.tailscale.com 443"));
        for (variables, url, proxied) in [
            (&[("HTTPS_PROXY", "http://p:1")][..], "https://h.example", true),
            (&[("https_proxy", "http://p:1")], "https://h.example", true),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "http://p:1")], "https://h.example", true),
            (&[("HTTPS_PROXY", ""), ("ALL_PROXY", "")], "https://h.example", false),
            (&[("HTTP_PROXY", "http://p:1")], "https://h.example", false),
            (&[("HTTP_PROXY", "http://p:1")], "http://h.example", true),
            (&[("http_proxy", "http://p:1")], "http://h.example", true),
            (&[("HTTP_PROXY", ""), ("HTTPS_PROXY", "http://p:1")], "http://h.example", false),
        ] {
            let probe = ControlProbe::new(url, &environment(variables));
            assert_eq!(probe.address.is_none(), proxied, "{variables:?} {url}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nobody_there_is_not_reachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let control =
            ControlProbe::new(&format!("http://{}", listener.local_addr().expect("address")), &Environment::new());
        assert!(control.is_reachable().await);
        drop(listener);
        assert!(!control.is_reachable().await);
    }
}
