//! The directories of one life: a private temporary one for sockets, and the one that keeps the node's identity.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::mkdtemp;
use thiserror::Error;

/// Where a private directory can be made when the root file system is read-only: `/dev/shm` is writable even then.
const PLACES: [&str; 3] = ["/tmp", "/dev/shm", "/run"];

/// How often removing the private directory is tried again, and after which pause.
const REMOVALS: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// A longer directory leaves no room for the name of a socket in the 107 bytes of its path.
const LONGEST_PLACE: usize = 70;

/// The directories cannot be had.
#[derive(Debug, Error)]
pub enum StateDirError {
    #[error("no temporary directory can be made in {tried}; mount one, or set TMPDIR: {source}")]
    NoPrivate { tried: String, source: io::Error },
    #[error("state_dir {} cannot be used: {source}; make it writable for this user", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("state_dir {} is in use by another tetherd; give each its own", .0.display())]
    InUse(PathBuf),
}

/// Both directories. Dropped, it removes the temporary one and all that is in it.
#[derive(Debug)]
pub struct StateDir {
    private: PathBuf,
    given: Option<(PathBuf, Flock<File>)>,
}

impl StateDir {
    /// `given` is the user's `state_dir`; `temporary` the user's TMPDIR.
    pub fn open(given: Option<&Path>, temporary: Option<&str>) -> Result<Self, StateDirError> {
        let given = given.map(lock).transpose()?;
        Ok(Self { private: make_private(temporary)?, given })
    }

    /// Whether the identity is gone at exit.
    pub fn is_temporary(&self) -> bool {
        self.given.is_none()
    }

    /// Where tailscaled keeps the node's identity.
    pub fn state(&self) -> &Path {
        self.given.as_ref().map_or(&self.private, |(path, _)| path)
    }

    /// Where files go that nobody keeps.
    pub fn private(&self) -> &Path {
        &self.private
    }

    /// The LocalAPI's socket. Always in the private directory: a socket's path may not exceed 107 bytes.
    pub fn socket(&self) -> PathBuf {
        self.private.join("tailscaled.sock")
    }

    /// A directory that holds `ca_file` alone, in the form that Go's `SSL_CERT_DIR` takes.
    pub fn with_roots(&self, ca_file: &Path) -> io::Result<PathBuf> {
        let directory = self.private.join("roots");
        fs::create_dir_all(&directory)?;
        // Not canonical: Kubernetes changes a mounted file by pointing its symbolic link elsewhere.
        std::os::unix::fs::symlink(std::path::absolute(ca_file)?, directory.join("ca.pem"))?;
        Ok(directory)
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // A tailscaled that was killed a moment ago may still make a file in it.
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

fn make_private(temporary: Option<&str>) -> Result<PathBuf, StateDirError> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    let given = temporary.filter(|place| (1..=LONGEST_PLACE).contains(&place.len()));
    let places: Vec<&str> = given.into_iter().chain(PLACES).collect();
    for place in &places {
        // mkdtemp makes the directory with mode 0700.
        match mkdtemp(&Path::new(place).join("tetherd-XXXXXX")) {
            Ok(path) => return Ok(path),
            Err(error) => failure = error.into(),
        }
    }
    Err(StateDirError::NoPrivate { tried: places.join(", "), source: failure })
}

/// Makes the directory and locks it, so that two daemons never share one identity.
fn lock(path: &Path) -> Result<(PathBuf, Flock<File>), StateDirError> {
    let unusable = |source| StateDirError::Unusable { path: path.to_owned(), source };
    if !path.exists() {
        fs::create_dir_all(path).map_err(unusable)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    let file = File::create(path.join("tetherd.lock")).map_err(unusable)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok((fs::canonicalize(path).map_err(unusable)?, lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StateDirError::InUse(path.to_owned())),
        Err((_, error)) => Err(unusable(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(matches!(StateDir::open(Some(&given), None), Err(StateDirError::InUse(_))));
        drop(first);
        assert!(given.is_dir());
        StateDir::open(Some(&given), None).expect("is free again");
    }
}
