//! The daemon's directories: a temporary one for sockets, and the state directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::mkdtemp;
use thiserror::Error;

use crate::tailscaled::process::locked_dir::{LockedDir, LockedDirError};

/// Directories in which the private directory is made. `/dev/shm` is writable even when the root file system is
/// read-only.
const PARENTS: [&str; 3] = ["/tmp", "/dev/shm", "/run"];

/// How often removing the private directory is tried again, and the pause between two tries.
const REMOVALS: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// Longest path of a parent directory, in bytes. A longer one leaves no room for a socket's name in the 107 bytes of
/// its path.
const LONGEST_PARENT: usize = 70;

/// Why the directories cannot be used.
#[derive(Debug, Error)]
pub enum StateDirError {
    #[error("no temporary directory can be made in {tried}; mount one, or set TMPDIR: {source}")]
    NoPrivate { tried: String, source: io::Error },
    #[error(transparent)]
    State(#[from] LockedDirError),
}

/// The private directory and the state directory. Dropped, it removes the private one and all that is in it.
#[derive(Debug)]
pub struct StateDir {
    private: PathBuf,
    /// The user's `state_dir`; the private directory keeps the state without it.
    kept: Option<LockedDir>,
}

impl StateDir {
    /// Makes the private directory, in `temporary`, the user's TMPDIR, if that is set. Locks `given`, the user's
    /// `state_dir`.
    ///
    /// # Errors
    /// When a directory cannot be made, or another daemon uses `given`.
    pub fn open(given: Option<&Path>, temporary: Option<&str>) -> Result<Self, StateDirError> {
        let kept = given.map(LockedDir::open).transpose()?;
        Ok(Self { private: make_private(temporary)?, kept })
    }

    /// Whether the node's identity is removed when the daemon ends.
    pub fn is_temporary(&self) -> bool {
        self.kept.is_none()
    }

    /// Returns the directory in which tailscaled keeps the node's identity.
    pub fn state(&self) -> &Path {
        self.kept.as_ref().map_or(&self.private, LockedDir::path)
    }

    /// Returns the directory for files that are removed when the daemon ends.
    pub fn private(&self) -> &Path {
        &self.private
    }

    /// Returns the path of the LocalAPI's socket, always in the private directory: a socket's path may not exceed 107
    /// bytes.
    pub fn socket(&self) -> PathBuf {
        self.private.join("tailscaled.sock")
    }

    /// Makes a directory that holds `ca_file` alone, as Go's `SSL_CERT_DIR` takes it.
    pub fn with_ca_file(&self, ca_file: &Path) -> io::Result<PathBuf> {
        let directory = self.private.join("roots");
        fs::create_dir_all(&directory)?;
        // Not canonical: Kubernetes changes a mounted file by pointing its symbolic link elsewhere.
        std::os::unix::fs::symlink(std::path::absolute(ca_file)?, directory.join("ca.pem"))?;
        Ok(directory)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // A tailscaled that was killed a moment ago may still make a file in the directory.
        let mut removed = fs::remove_dir_all(&self.private);
        for _ in 0..REMOVALS {
            if removed.is_ok() {
                return;
            }
            std::thread::sleep(REMOVAL_PAUSE);
            removed = fs::remove_dir_all(&self.private);
        }
        if let Err(error) = removed {
            tracing::warn!(directory = %self.private.display(), %error, "the temporary directory could not be removed");
        }
    }
}

/// Makes a directory for this user alone, in the first parent that permits it.
fn make_private(temporary: Option<&str>) -> Result<PathBuf, StateDirError> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    let given = temporary.filter(|parent| (1..=LONGEST_PARENT).contains(&parent.len()));
    let parents: Vec<&str> = given.into_iter().chain(PARENTS).collect();
    for parent in &parents {
        // mkdtemp makes the directory with mode 0700.
        match mkdtemp(&Path::new(parent).join("tetherd-XXXXXX")) {
            Ok(path) => return Ok(path),
            Err(error) => failure = error.into(),
        }
    }
    Err(StateDirError::NoPrivate { tried: parents.join(", "), source: failure })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_private_directory_is_for_the_owner_only_and_goes_at_the_end() {
        let directory = StateDir::open(None, None).expect("opens");
        let path = directory.state().to_owned();
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o700);
        assert!(directory.is_temporary());
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn a_given_directory_is_kept_and_not_shared() {
        let parent = StateDir::open(None, None).expect("opens");
        let given = parent.state().join("kept");
        let first = StateDir::open(Some(&given), None).expect("opens");
        assert!(matches!(StateDir::open(Some(&given), None), Err(StateDirError::State(LockedDirError::InUse(_)))));
        drop(first);
        assert!(given.is_dir());
        StateDir::open(Some(&given), None).expect("is free again");
    }
}
