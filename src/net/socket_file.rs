//! Sets the mode of a unix socket's file, and of nothing that somebody puts in its place.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_PATH};
use nix::unistd::geteuid;

/// Mode of the sockets: owner and group may connect, which takes the right to write (unix(7)).
pub const SOCKET_MODE: u32 = 0o660;

/// Sets the mode of the socket at `path`, which must be this user's, to [`SOCKET_MODE`]. Returns what is known of its file.
///
/// # Errors
/// `InvalidInput` when something else is there, such as a symbolic link or another user's socket; those of the file system.
pub fn restrict(path: &Path) -> io::Result<Metadata> {
    let file = OpenOptions::new().read(true).custom_flags(O_PATH | O_NOFOLLOW).open(path)?;
    let found = file.metadata()?;
    if !found.file_type().is_socket() || found.uid() != geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "another file is in the place of the socket"));
    }
    // A path is followed to whatever it leads to by then, and fchmod takes no descriptor of this kind (open(2)).
    fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(SOCKET_MODE))?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_gets_its_mode_and_what_took_its_place_does_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let mode = |name: &str| fs::metadata(path(name)).expect("is there").permissions().mode() & 0o777;
        let _listener = UnixListener::bind(path("s")).expect("listens");
        fs::set_permissions(path("s"), Permissions::from_mode(0o666)).expect("open to all");
        restrict(&path("s")).expect("is set");
        assert_eq!(mode("s"), SOCKET_MODE);
        fs::write(path("file"), "mine").expect("written");
        fs::set_permissions(path("file"), Permissions::from_mode(0o400)).expect("set");
        fs::set_permissions(path("s"), Permissions::from_mode(0o600)).expect("set");
        for target in ["file", "s"] {
            let link = path(&format!("link-{target}"));
            std::os::unix::fs::symlink(path(target), &link).expect("linked");
            assert_eq!(restrict(&link).expect_err("a link").kind(), io::ErrorKind::InvalidInput, "{target}");
        }
        restrict(&path("file")).expect_err("no socket");
        assert_eq!((mode("file"), mode("s")), (0o400, 0o600));
    }
}
