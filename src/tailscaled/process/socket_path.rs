//! Path of the LocalAPI's socket: a private one, or where the user wants it.
//!
//! At a path of the user's, a `tailscale` command or a container that shares the directory finds the socket.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::tailscaled::process::openness;
use crate::tailscaled::process::state_dir::StateDir;

/// The path of the socket. Dropped, it removes a socket that is where the user wants it; the private directory is
/// removed with all its files.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    /// Whether the user has chosen the path.
    is_given: bool,
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
            return Ok(Self { path: directory.socket(), is_given: false });
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
        Ok(Self { path: path.to_owned(), is_given: true })
    }

    /// Returns the path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
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
        if self.is_given {
            // tailscaled that ended in order has removed it itself.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_dead_socket_is_replaced_and_nothing_else_is() {
        let directory = StateDir::open(None, None).expect("opens");
        let path = directory.private().join("deep/t.sock");
        let place = SocketPath::new(Some(&path), &directory).expect("is free");
        let listener = UnixListener::bind(place.path()).expect("listens");
        assert!(matches!(SocketPath::new(Some(&path), &directory), Err(SocketError::InUse(_))));
        drop(listener);
        assert!(path.exists(), "it stays behind");
        drop(SocketPath::new(Some(&path), &directory).expect("is dead"));
        fs::write(&path, "mine").expect("written");
        assert!(matches!(SocketPath::new(Some(&path), &directory), Err(SocketError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).expect("is left"), "mine");
        let made = fs::metadata(path.parent().expect("a directory")).expect("is there");
        assert_eq!(made.permissions().mode() & 0o777, 0o700);
    }
}
