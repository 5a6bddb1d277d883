//! Raises the limit of open file descriptors (RLIMIT_NOFILE) for connections.
//!
//! Computes how many connections fit under it.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::settings::Settings;
use crate::config::types::address::Listen;
use crate::proxy::listener::lobby;
use crate::proxy::udp_forward::MOST_FLOWS;

/// Open files reserved for each connection. A connection through the tailnet takes one until tailscaled has its
/// client's socket; a direct one two, and its pipes for splice(2) some more; a forwarded HTTP request two; a UDP
/// association three. With a stock tailscaled a connection takes up to four: a hedged dial and the watch of a full unix
/// socket have a file each.
const FILES_A_CONNECTION: u64 = 4;
/// What TLS adds: a pair of unix sockets, and the watch of each when it is full.
const FILES_OF_TLS: u64 = 4;
/// Open files for listeners, health port, tailscaled's pipes and the event loop.
const FILES_OF_ITS_OWN: u64 = 40;
/// Most connections where files are not limited: each connection takes some memory, too.
const MOST: usize = 100_000;

/// What the files of a client depend on.
#[derive(Clone, Copy, Debug)]
struct Clients {
    /// Whether they may speak TLS.
    by_tls: bool,
    /// Whether they are in the lobby until they are let in.
    by_lobby: bool,
    /// Whether some come by a balancer: until it has said where they come from they are in a lobby of their own.
    by_balancer: bool,
}

/// Raises the limit of open files as far as it goes and returns how many connections fit under it beside clients that are
/// not let in yet, at most as many as are set.
pub fn connections(settings: &Settings) -> usize {
    let by_balancer = !settings.proxy_protocol.is_empty();
    let on_the_network = !settings.socks_listen.iter().all(Listen::is_private);
    let clients = Clients {
        by_tls: settings.socks_tls.is_some(),
        by_lobby: by_balancer || settings.asks_for_password() || on_the_network,
        by_balancer,
    };
    let udp_forwards = settings.forwards.iter().filter(|forward| matches!(forward.listen, Listen::Udp(_))).count();
    let of_flows = (udp_forwards * MOST_FLOWS) as u64;
    let fitting = fitting(raise_open_files().saturating_sub(of_flows), clients);
    match settings.max_connections {
        Some(number) if number.get() > fitting => {
            tracing::warn!(max_connections = number.get(), fitting, "the limit of open files (ulimit -n) allows fewer");
            fitting
        }
        Some(number) => number.get(),
        None => fitting,
    }
}

/// Raises the soft limit of open files to the hard one, and returns the limit that holds then.
fn raise_open_files() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() => hard,
        Ok((soft, _)) => soft,
        Err(_) => u64::MAX,
    }
}

/// Computes how many connections fit under a limit of `files`; at least one.
fn fitting(files: u64, clients: Clients) -> usize {
    let more = if clients.by_tls { FILES_OF_TLS } else { 0 };
    let left = files.saturating_sub(FILES_OF_ITS_OWN);
    let fit = |files: u64| usize::try_from(files / (FILES_A_CONNECTION + more)).unwrap_or(MOST).clamp(1, MOST);
    if !clients.by_lobby {
        return fit(left);
    }
    // Of fewer connections there are no more places.
    let places = lobby::places_beside(fit(left)) as u64;
    // A header comes before TLS.
    let unknown = if clients.by_balancer { places } else { 0 };
    fit(left.saturating_sub(places * (1 + more) + unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_bound_connections_and_one_always_fits() {
        for (files, by_tls, by_lobby, by_balancer, expected) in [
            (1024, false, false, false, 246),
            (1024, false, true, false, 230),
            (1024, true, false, false, 123),
            (1024, true, true, false, 83),
            (1024, false, true, true, 214),
            (1024, true, true, true, 75),
            (200, false, true, false, 24),
            (200, false, true, true, 8),
            (200, true, true, false, 1),
            (u64::MAX, true, true, true, MOST),
            (10, false, false, false, 1),
            (10, true, true, true, 1),
        ] {
            let clients = Clients { by_tls, by_lobby, by_balancer };
            let found = fitting(files, clients);
            assert_eq!(found, expected, "{files} {clients:?}");
            let more = if by_tls { FILES_OF_TLS } else { 0 };
            let of_lobby = if by_lobby { lobby::places_beside(found) as u64 * (1 + more) } else { 0 };
            let of_unknown = if by_balancer { lobby::places_beside(found) as u64 } else { 0 };
            let all = FILES_OF_ITS_OWN + found as u64 * (FILES_A_CONNECTION + more) + of_lobby + of_unknown;
            assert!(all <= files || found == 1, "{files} {clients:?}: {all}");
        }
    }
}
