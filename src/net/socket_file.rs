//! Makes unix sockets with their mode, and sets the mode of one.
//!
//! Never that of what somebody puts in its place.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_PATH};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;

/// Mode of the sockets: owner and group may connect, which takes the right to write (unix(7)).
pub const SOCKET_MODE: u32 = 0o660;

/// Makes a socket at `path` with [`SOCKET_MODE`], whatever the umask is. It does not listen yet, and does not block. Returns also
/// what is known of its file.
///
/// # Errors
/// `AddrInUse` when something is there; those of [`restrict`].
pub fn bind(path: &Path) -> io::Result<(OwnedFd, Metadata)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let bound = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Linux gives the file the mode of the socket, less the umask: at no time may others connect.
    fchmod(&bound, Mode::from_bits_truncate(SOCKET_MODE))?;
    nix::sys::socket::bind(bound.as_raw_fd(), &UnixAddr::new(path)?)?;
    let file = restrict(path).inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok((bound, file))
}

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
    let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
    match fs::set_permissions(itself, Permissions::from_mode(SOCKET_MODE)) {
        // Without /proc a mode stays that is closed enough.
        Err(error) if error.kind() == io::ErrorKind::NotFound && found.mode() & 0o777 & !SOCKET_MODE == 0 => Ok(found),
        result => result.map(|()| found),
    }
}

/// Gives the socket at `path` the name `at` as well, in the place of another socket there. Both must be on one file system.
///
/// # Errors
/// `AlreadyExists` when something else is there; those of the file system, some of which have no second names.
pub fn publish(path: &Path, at: &Path) -> io::Result<()> {
    if fs::symlink_metadata(at).is_ok_and(|found| !found.file_type().is_socket()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is there"));
    }
    let next = path.with_extension("new");
    let _ = fs::remove_file(&next);
    fs::hard_link(path, &next)?;
    // Two names of one file: then this changes nothing and `next` stays.
    let published = fs::rename(&next, at);
    let _ = fs::remove_file(&next);
    published
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sched::{CloneFlags, unshare};
    use nix::sys::stat::umask;
    use std::collections::BTreeSet;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A socket that is made open to all, and closed a moment later, is open to all in that moment.
    #[test]
    fn a_new_socket_is_at_no_time_open_to_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("s");
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut seen = BTreeSet::new();
                while !done.load(Ordering::Relaxed) {
                    seen.extend(fs::symlink_metadata(&path).map(|found| found.mode() & 0o777));
                }
                seen
            });
            let binding = scope.spawn(|| {
                // Gives this thread a umask of its own.
                unshare(CloneFlags::CLONE_FS).expect("is allowed to all");
                for mask in [0, 0o022, 0o077, 0o777] {
                    umask(Mode::from_bits_truncate(mask));
                    for _ in 0..1000 {
                        let (_socket, file) = bind(&path).expect("is made");
                        assert_eq!(fs::symlink_metadata(&path).expect("is there").ino(), file.ino());
                        assert_eq!(
                            fs::symlink_metadata(&path).expect("is there").mode() & 0o777,
                            SOCKET_MODE,
                            "{mask:o}"
                        );
                        fs::remove_file(&path).expect("removed");
                    }
                }
            });
            let bound = binding.join();
            done.store(true, Ordering::Relaxed);
            bound.expect("each has its mode");
            looking.join().expect("looked")
        });
        assert!(seen.iter().all(|mode| mode & !SOCKET_MODE == 0), "{seen:?}");
    }

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
