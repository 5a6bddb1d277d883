//! Tells who asks on the health port, and with it what the answer may hold.
//!
//! A program on loopback may know everything that is shown; others get probes, metrics, phase and reason. A page of the web
//! whose name was made to lead to loopback (DNS rebinding) is known by its `Host`.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::HOST;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A program on loopback.
    Local,
    /// Anyone who is not on loopback.
    Remote,
    /// A program on loopback that takes the daemon for somebody else. It gets no status at all.
    Mistaken,
}

impl Audience {
    /// All audiences, with the names by which a supervisor tells its daemons.
    const NAMES: [(Self, &str); 3] = [(Self::Local, "local"), (Self::Remote, "remote"), (Self::Mistaken, "mistaken")];

    /// Returns the name that [`Audience::named`] finds it by.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(audience, _)| *audience == self).map_or("remote", |(_, name)| name)
    }

    /// Finds an audience by its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(audience, _)| *audience)
    }

    /// Tells who has sent a request with these headers over a connection with these two ends.
    pub fn of(ends: [SocketAddr; 2], headers: &HeaderMap) -> Self {
        let is_loopback = |end: &SocketAddr| end.ip().to_canonical().is_loopback();
        if !ends.iter().all(is_loopback) {
            return Self::Remote;
        }
        let mut hosts = headers.get_all(HOST).iter();
        if hosts.all(|host| host.to_str().is_ok_and(is_own_host)) { Self::Local } else { Self::Mistaken }
    }
}

/// Whether `host`, the value of a `Host` header, stands for loopback. Without a value it does: no browser leaves it out.
fn is_own_host(host: &str) -> bool {
    let host = host.trim();
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').map_or("", |(address, _)| address),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let is_loopback = name.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback());
    host.is_empty() || is_loopback || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audience(ends: [&str; 2], hosts: &[&str]) -> Audience {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().expect("a value"));
        }
        Audience::of(ends.map(|end| end.parse().expect("an address")), &headers)
    }

    #[test]
    fn everything_is_for_loopback_under_its_own_name_alone() {
        let here = ["127.0.0.1:40000", "127.0.0.1:9002"];
        for host in ["localhost", "LOCALHOST:9002", "127.0.0.1:9002", "127.9.9.9", "[::1]:9002", "[::1]", ""] {
            assert_eq!(audience(here, &[host]), Audience::Local, "{host}");
            assert_eq!(audience(["[::1]:40000", "[::1]:9002"], &[host]), Audience::Local, "{host}");
            assert_eq!(audience(["[::ffff:127.0.0.1]:4", "[::ffff:127.0.0.1]:9002"], &[host]), Audience::Local);
            assert_eq!(audience(["10.0.0.2:40000", "10.0.0.1:9002"], &[host]), Audience::Remote, "{host}");
            assert_eq!(audience(["10.0.0.1:40000", "10.0.0.1:9002"], &[host]), Audience::Remote, "{host}");
        }
        assert_eq!(audience(here, &[]), Audience::Local);
        for host in
            ["evil.example", "evil.example:9002", "localhost.evil.example", "10.0.0.1", "[fd7a::1]:9002", "::1", "[::1"]
        {
            assert_eq!(audience(here, &[host]), Audience::Mistaken, "{host}");
            assert_eq!(audience(here, &["localhost", host]), Audience::Mistaken, "{host}");
        }
    }
}
