//! Leaves out proxy variables that name one of the daemon's own listeners.
//!
//! They are meant for the programs beside it, which share its variables. The daemon and tailscaled would wait for the tailnet to
//! reach the control server by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::environment::{Environment, set_variable};
use crate::proxy::policy::own_listeners::OwnListeners;
use crate::target::port::parse_port;

/// Variables that name a proxy, as Go and others read them.
const VARIABLES: [&str; 6] = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// How long the name of a proxy may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns `environment` without the variables that name a listener of `own`, and says which these are.
pub async fn without_own_proxy(environment: &Environment, own: &OwnListeners) -> Environment {
    let mut kept = environment.clone();
    let mut left_out = Vec::new();
    for name in VARIABLES {
        if let Some(value) = set_variable(environment, name)
            && names_one_of(own, value).await
        {
            kept.remove(name);
            left_out.push(name);
        }
    }
    if !left_out.is_empty() {
        let names = left_out.join(", ");
        tracing::info!(
            "tetherd's own listener is named as proxy by {names}: left out for tetherd and tailscaled themselves"
        );
    }
    kept
}

/// Whether the address of a proxy leads to one of the listeners.
async fn names_one_of(own: &OwnListeners, value: &str) -> bool {
    let Some((host, port)) = host_and_port(value).filter(|(_, port)| own.has_port(*port)) else { return false };
    addresses(host, port).await.into_iter().any(|address| own.is_meant_by(address, port))
}

/// Splits the address of a proxy, whatever its scheme and its user are. `None` where it has no port that can be read.
fn host_and_port(value: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = value.trim().split_once("://").unwrap_or(("http", value.trim()));
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let place = place.split(['/', '?', '#']).next().unwrap_or_default();
    let default = if scheme.starts_with("socks") { 1080 } else { 80 };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, parse_port(port)?),
        _ => (place, default),
    };
    Some((host.trim_matches(['[', ']']), port))
}

/// Returns the addresses of a host; of an empty one and of `0.0.0.0` those of loopback, which systems take them for.
async fn addresses(host: &str, port: u16) -> Vec<IpAddr> {
    let loopback = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if address.is_unspecified() => loopback,
        Ok(address) => vec![address],
        Err(_) if host.is_empty() || host.trim_end_matches('.').eq_ignore_ascii_case("localhost") => loopback,
        Err(_) => match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await {
            Ok(Ok(found)) => found.map(|found| found.ip().to_canonical()).collect(),
            _ => Vec::new(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[tokio::test(flavor = "current_thread")]
    async fn only_what_leads_to_a_listener_is_left_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let other = std::net::TcpListener::bind("127.0.0.3:0").expect("another program's");
        let (bound, taken) = (listener.local_addr().expect("bound"), other.local_addr().expect("bound"));
        let own = OwnListeners::new(vec![bound, ([127, 0, 0, 1], taken.port()).into()]);
        let port = bound.port();
        for (value, is_own) in [
            (format!("http://127.0.0.1:{port}"), true),
            (format!("127.0.0.1:{port}"), true),
            (format!("socks5h://localhost:{port}/"), true),
            (format!("http://app:p%40ss@LOCALHOST.:{port}"), true),
            (format!("http://app:p/ss@127.0.0.1:{port}"), true),
            (format!("https://[::1]:{port}"), true),
            (format!("http://[::ffff:127.0.0.1]:{port}"), true),
            (format!("http://127.0.0.2:{port}"), true),
            (format!("http://0.0.0.0:{port}"), true),
            (format!("http://:{port}"), true),
            (format!("http://127.0.0.3:{}", taken.port()), false),
            (format!("http://192.0.2.1:{port}"), false),
            (format!("http://127.0.0.1:{}", port ^ 1), false),
            ("http://127.0.0.1".to_owned(), false),
            ("http://127.0.0.1:x".to_owned(), false),
            (String::new(), false),
        ] {
            for name in VARIABLES {
                let kept = without_own_proxy(&environment(&[(name, &value), ("NO_PROXY", "x")]), &own).await;
                assert_eq!((kept.contains_key(name), kept.len()), (!is_own, 2 - usize::from(is_own)), "{name}={value}");
            }
        }
    }
}
