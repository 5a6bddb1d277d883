//! Path of the LocalAPI's socket: a private one, or where the user wants it.
//!
//! At a path of the user's, a `tailscale` command or a container that shares the directory finds the socket.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use thiserror::Error;

use crate::tailscaled::process::openness;
use crate::tailscaled::process::state_dir::StateDir;

/// Name of the socket in a directory of its own.
const NAME: &str = "s";

/// The path of the socket. tailscaled opens its socket to every user and closes it later, so it listens in a directory that is
/// this user's alone; the socket gets the path that the user wants once it is closed. Dropped, it removes both.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    /// The path that the user has chosen.
    given: Option<PathBuf>,
}

/// Why the socket cannot be at its path.
#[derive(Debug, Error)]
pub enum SocketError {
    #[error("tailscaled_socket {} is there already and is no socket; remove it or choose another path", .0.display())]
    NoSocket(PathBuf),
    #[error("tailscaled_socket {} is in use by another tailscaled; give each its own", .0.display())]
    InUse(PathBuf),
    #[error("tailscaled_socket {} cannot be used: {source}; choose a directory that this user may write to", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
}

impl SocketPath {
    /// Prepares `given`, the user's path, or the one in `directory`. A dead socket at the user's path is removed.
    ///
    /// # Errors
    /// When anything else is there, which tailscaled would remove; when the path cannot be used.
    pub fn new(given: Option<&Path>, directory: &StateDir) -> Result<Self, SocketError> {
        let Some(path) = given else {
            return Ok(Self { path: directory.socket(), given: None });
        };
        let unusable = |source| SocketError::Unusable { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => return Err(SocketError::NoSocket(path.to_owned())),
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(SocketError::InUse(path.to_owned())),
            Ok(_) => fs::remove_file(path).map_err(unusable)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(error)),
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(unusable)?;
            warn_if_open(path, parent);
        }
        let own = own_directory(path).map_err(unusable)?;
        Ok(Self { path: own.join(NAME), given: Some(path.to_owned()) })
    }

    /// Returns the path at which tailscaled listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path that the user has chosen for the socket.
    pub fn given(&self) -> Option<&Path> {
        self.given.as_deref()
    }
}

/// Makes a directory beside `path`, on the same file system, which no other user may enter.
fn own_directory(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let directory = path.with_file_name(format!(".{name}.d"));
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        // Of a daemon that was killed.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(&directory)?;
            if !found.is_dir() || found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
                let problem = format!("{} is not a directory of this user's alone", directory.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
            }
        }
        made => made?,
    }
    Ok(directory)
}

/// Warns where others may put a socket of their own in the place of the one at `path`, in `directory`.
fn warn_if_open(path: &Path, directory: &Path) {
    if let Ok(Some(who)) = openness::open_to(directory) {
        tracing::warn!(
            "tailscaled_socket {}: {who}, who can take its place; this daemon notices, programs that use the socket do not: \
             choose a directory that this user alone may write to",
            path.display()
        );
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let Some(given) = &self.given else { return };
        // tailscaled that ended in order has removed its own name of the socket.
        let _ = fs::remove_file(&self.path);
        if fs::symlink_metadata(given)
            .is_ok_and(|found| found.file_type().is_socket() && found.uid() == geteuid().as_raw())
        {
            let _ = fs::remove_file(given);
        }
        if let Some(own) = self.path.parent() {
            let _ = fs::remove_dir(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use crate::net::socket_file;

    #[test]
    fn a_dead_socket_is_replaced_and_nothing_else_is() {
        let directory = StateDir::open(None, None).expect("opens");
        let path = directory.private().join("deep/t.sock");
        let place = SocketPath::new(Some(&path), &directory).expect("is free");
        let listener = UnixListener::bind(place.path()).expect("listens");
        socket_file::publish(place.path(), &path).expect("gets its name");
        socket_file::publish(place.path(), &path).expect("keeps it");
        assert!(matches!(SocketPath::new(Some(&path), &directory), Err(SocketError::InUse(_))));
        drop(listener);
        assert!(path.exists(), "it stays behind");
        drop(SocketPath::new(Some(&path), &directory).expect("is dead"));
        assert!(!path.exists() && !place.path().exists(), "nothing is left of it");
        fs::write(&path, "mine").expect("written");
        assert!(matches!(SocketPath::new(Some(&path), &directory), Err(SocketError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).expect("is left"), "mine");
        fs::remove_file(&path).expect("removed");
        let again = SocketPath::new(Some(&path), &directory).expect("is free");
        let own = fs::metadata(again.path().parent().expect("a directory")).expect("is there");
        assert_eq!(own.permissions().mode() & 0o777, 0o700);
        let made = fs::metadata(path.parent().expect("a directory")).expect("is there");
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
    }
}
