//! Computes how many connections fit under the kernel's limit of open files.

use std::num::NonZeroUsize;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files for each connection. One through the tailnet takes one file until tailscaled has its client's socket; one that goes past it takes two, and
/// pipes of splicing a fourth of all files at most. A request that is sent on takes two, a UDP association three. Beside a
/// tailscaled without our calls a second dial beside a silent one takes a third, and a unix socket that had no room once two.
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
