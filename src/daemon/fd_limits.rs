//! Raises the limit of open file descriptors (RLIMIT_NOFILE) for connections.
//!
//! Computes how many connections fit under it.

use std::num::NonZeroUsize;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files reserved for each connection. A connection through the tailnet takes one until tailscaled has its
/// client's socket; a direct one two, and its pipes for splice(2) some more; a forwarded HTTP request two; a UDP
/// association three. With a stock tailscaled a connection takes up to four: a hedged dial and the watch of a full unix
/// socket have a file each.
const FILES_A_CONNECTION: u64 = 4;
/// Open files for listeners, health port, tailscaled's pipes and the event loop.
const FILES_OF_ITS_OWN: u64 = 40;
/// Most connections where files are not limited: each connection takes some memory, too.
const MOST: usize = 100_000;

/// Raises the limit of open files as far as it goes and returns how many connections fit under it, at most
/// `configured`.
pub fn connections(configured: Option<NonZeroUsize>) -> usize {
    let fitting = fitting(raise_open_files());
    match configured {
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
fn fitting(files: u64) -> usize {
    let connections = files.saturating_sub(FILES_OF_ITS_OWN) / FILES_A_CONNECTION;
    usize::try_from(connections).unwrap_or(MOST).clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_bound_connections_and_one_always_fits() {
        assert_eq!(fitting(1024), 246);
        assert_eq!(fitting(u64::MAX), MOST);
        assert_eq!(fitting(10), 1);
    }
}
