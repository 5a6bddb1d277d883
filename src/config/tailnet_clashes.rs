//! Finds what two tailnets of one file cannot both have, such as listeners.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::config::error::ConfigError;
use crate::config::settings::Settings;
use crate::config::tailnets::TailnetName;
use crate::config::types::address::Listen;

/// What one process alone can have.
#[derive(Clone, Debug)]
enum Place {
    Listener(Listen),
    Directory(PathBuf),
    Socket(PathBuf),
}

/// A place, the setting that names it, and whose it is; `None` for all tailnets.
struct Claim<'a> {
    key: &'static str,
    place: Place,
    owner: Option<&'a TailnetName>,
    origin: String,
}

/// Finds each place that a tailnet has, and another one before it or the health port of all. Settings that are at fault do not count.
pub fn clashes(health: &[SocketAddr], tailnets: &[(TailnetName, &Config)]) -> Vec<ConfigError> {
    let of_all = health.iter().map(|address| Claim {
        key: "health_listen",
        place: Place::Listener(Listen::Tcp(*address)),
        owner: None,
        origin: String::new(),
    });
    let mut taken: Vec<Claim<'_>> = of_all.collect();
    let mut faults = Vec::new();
    for (name, config) in tailnets {
        let Ok(settings) = &config.settings else { continue };
        let claims = places(settings).into_iter().map(|(key, place)| {
            let shown = config.shown.iter().find(|shown| shown.key == key);
            let origin = shown.map_or_else(String::new, |shown| shown.origin.to_string());
            Claim { key, place, owner: Some(name), origin }
        });
        let claims: Vec<Claim<'_>> = claims.collect();
        for claim in &claims {
            if let Some(first) = taken.iter().find(|first| are_one(&first.place, &claim.place)) {
                faults.push(fault(name, claim, first));
            }
        }
        taken.extend(claims);
    }
    faults
}

fn fault(name: &TailnetName, claim: &Claim<'_>, first: &Claim<'_>) -> ConfigError {
    let (place, own) = match &claim.place {
        Place::Listener(listen) => (listen.to_string(), "address"),
        Place::Directory(path) => (path.display().to_string(), "directory"),
        Place::Socket(path) => (path.display().to_string(), "path"),
    };
    let owner = first.owner.map_or_else(|| "all tailnets".to_owned(), |owner| format!("tailnet {owner}"));
    let problem = format!(
        "of tailnet {name} and {} of {owner} cannot both be {place}: give each tailnet its own {own}, in its table [tailnet.NAME]",
        first.key
    );
    ConfigError::new(claim.key, &claim.origin, problem)
}

/// Lists the places of a daemon, each behind its setting.
fn places(settings: &Settings) -> Vec<(&'static str, Place)> {
    let listeners = listeners(settings).into_iter().map(|(key, listen)| (key, Place::Listener(listen)));
    let state = settings.state_dir.iter().map(|path| ("state_dir", Place::Directory(whole(path))));
    let socket = settings.tailscaled_socket.iter().map(|path| ("tailscaled_socket", Place::Socket(whole(&path.0))));
    listeners.chain(state).chain(socket).collect()
}

/// Lists where a daemon listens, each address behind its setting.
pub fn listeners(settings: &Settings) -> Vec<(&'static str, Listen)> {
    let health = settings.health_listen.iter().map(|address| ("health_listen", Listen::Tcp(*address)));
    let proxies = settings.socks_listen.iter().map(|listen| ("socks_listen", listen.clone()));
    let forwards = settings.forwards.iter().map(|forward| ("forwards", forward.listen.clone()));
    let dns = settings.dns.listen.iter().flat_map(|address| [Listen::Tcp(*address), Listen::Udp(*address)]);
    health.chain(proxies).chain(forwards).chain(dns.map(|listen| ("dns_listen", listen))).collect()
}

fn are_one(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Listener(Listen::Unix(one)), Place::Listener(Listen::Unix(other))) => whole(one) == whole(other),
        (Place::Listener(Listen::Unix(one)), Place::Socket(other))
        | (Place::Socket(other), Place::Listener(Listen::Unix(one))) => whole(one) == *other,
        (Place::Listener(Listen::Tcp(one)), Place::Listener(Listen::Tcp(other)))
        | (Place::Listener(Listen::Udp(one)), Place::Listener(Listen::Udp(other))) => overlap(*one, *other),
        (Place::Directory(one), Place::Directory(other)) | (Place::Socket(one), Place::Socket(other)) => one == other,
        _ => false,
    }
}

/// Whether the kernel lets only one of two listeners have its address. Each port 0 is another port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (first, second) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers = |wide: IpAddr, address: IpAddr| match wide {
        // `[::]` stands for the addresses of both families.
        IpAddr::V6(wide) => wide.is_unspecified(),
        IpAddr::V4(wide) => wide.is_unspecified() && address.is_ipv4(),
    };
    one.port() == other.port() && one.port() != 0 && (first == second || covers(first, second) || covers(second, first))
}

/// The path from the root, without `.`, doubled slashes and a slash at its end.
fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_one_where_the_kernel_lets_only_one_have_the_address() {
        for (one, other, clash) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("0.0.0.0:1", "[::]:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("[::1]:1", "[::]:1", true),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
        ] {
            let address = |text: &str| text.parse().expect("an address");
            assert_eq!(overlap(address(one), address(other)), clash, "{one} {other}");
            assert_eq!(overlap(address(other), address(one)), clash, "{other} {one}");
        }
    }
}
