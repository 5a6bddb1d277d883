//! The user's `state_dir`: locked, and nobody else's.
//!
//! It belongs to no other user, and has no file that another user has put in it.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::geteuid;
use thiserror::Error;

use crate::tailscaled::process::openness;

/// File in the state directory that says that it is in use.
const LOCK_FILE: &str = "tetherd.lock";
/// File in the state directory that tailscaled keeps the node's identity in.
pub const STATE_FILE: &str = "tailscaled.state";

/// Why the directory cannot be used.
#[derive(Debug, Error)]
pub enum LockedDirError {
    #[error("state_dir {} cannot be used: {source}; make it writable for this user", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("state_dir {} is in use by another tetherd; give each its own", .0.display())]
    InUse(PathBuf),
    #[error("state_dir {} belongs to user {owner}, who could read and change the node's identity: give it to user {}, or choose another", .path.display(), geteuid())]
    Foreign { path: PathBuf, owner: u32 },
    #[error("state_dir {} leads over {}, a link of another user's, who decides where the node's identity is kept: give the directory itself", .path.display(), .link.display())]
    ForeignLink { path: PathBuf, link: PathBuf },
    #[error("{} is a link, or no file of this user's: whoever may write to state_dir can put one there; remove it", .0.display())]
    Planted(PathBuf),
}

/// A directory that no other daemon uses as long as this lives.
#[derive(Debug)]
pub struct LockedDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl LockedDir {
    /// Makes the directory `path` where it is missing, and locks it, so that two daemons never share one identity.
    ///
    /// # Errors
    /// When it is another user's, another daemon uses it, or others have put files in it.
    pub fn open(path: &Path) -> Result<Self, LockedDirError> {
        let unusable = |source| LockedDirError::Unusable { path: path.to_owned(), source };
        if let Some(link) = openness::foreign_link(path).map_err(unusable)? {
            return Err(LockedDirError::ForeignLink { path: path.to_owned(), link });
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let directory = fs::canonicalize(path).map_err(unusable)?;
        let found = fs::metadata(&directory).map_err(unusable)?;
        if !openness::is_trusted(found.uid()) && !makes_ours(&directory, found.uid()) {
            return Err(LockedDirError::Foreign { path: path.to_owned(), owner: found.uid() });
        }
        if found.mode() & openness::OTHERS_WRITE != 0 {
            tracing::warn!(
                "state_dir {} may be written to by every user, who can take the node's identity away: chmod 700",
                path.display()
            );
        }
        let file = lock_file(directory.join(LOCK_FILE), found.uid(), unusable)?;
        no_planted_file(directory.join(STATE_FILE), found.uid())?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(LockedDir { path: directory, _lock: lock }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(LockedDirError::InUse(path.to_owned())),
            Err((_, error)) => Err(unusable(error.into())),
        }
    }

    /// The directory itself, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens the lock file, or makes it. It is never followed elsewhere, and keeps what is in it.
fn lock_file(
    path: PathBuf,
    owner: u32,
    unusable: impl Fn(io::Error) -> LockedDirError,
) -> Result<File, LockedDirError> {
    no_planted_file(path.clone(), owner)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    let file = file.open(&path).map_err(&unusable)?;
    // What was looked at before may have been replaced.
    let found = file.metadata().map_err(unusable)?;
    if is_planted(&found, owner) || found.nlink() > 1 { Err(LockedDirError::Planted(path)) } else { Ok(file) }
}

/// Whether what this user makes in `directory` belongs to `owner`: a network file system gives all to one user, as an access
/// point of EFS or an NFS server that squashes users does, and who that is on this machine says nothing.
fn makes_ours(directory: &Path, owner: u32) -> bool {
    let path = directory.join(format!(".tetherd-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).custom_flags(O_NOFOLLOW).open(&path);
    let found = made.and_then(|file| file.metadata());
    if found.is_ok() {
        let _ = fs::remove_file(&path);
    }
    found.is_ok_and(|found| found.uid() == owner)
}

/// Fails where `path` is there, and is anything but a file of this user's, root's or `owner`'s, who has the directory.
fn no_planted_file(path: PathBuf, owner: u32) -> Result<(), LockedDirError> {
    let is_planted = fs::symlink_metadata(&path).is_ok_and(|found| is_planted(&found, owner));
    if is_planted { Err(LockedDirError::Planted(path)) } else { Ok(()) }
}

fn is_planted(found: &Metadata, owner: u32) -> bool {
    !found.is_file() || !(openness::is_trusted(found.uid()) || found.uid() == owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    #[test]
    fn what_others_have_put_in_the_state_directory_is_refused_and_left_as_it_is() {
        let parent = tempfile::tempdir().expect("a directory");
        let precious = parent.path().join("precious");
        for file in [LOCK_FILE, STATE_FILE] {
            for (kind, plant) in [
                ("a link", (|from, to| symlink(from, to)) as fn(&Path, &Path) -> io::Result<()>),
                ("a second name", |from, to| fs::hard_link(from, to)),
                ("a link to nothing", |_, to| symlink("/nowhere/at/all", to)),
                ("a pipe", |_, to| Ok(nix::unistd::mkfifo(to, nix::sys::stat::Mode::S_IRWXU)?)),
                ("a directory", |_, to| fs::create_dir(to)),
            ] {
                if (file, kind) == (STATE_FILE, "a second name") {
                    // tailscaled writes another file and gives it this name.
                    continue;
                }
                let given = parent.path().join("given");
                fs::create_dir(&given).expect("made");
                fs::write(&precious, "precious").expect("written");
                plant(&precious, &given.join(file)).expect(kind);
                let opened = LockedDir::open(&given);
                assert!(matches!(opened, Err(LockedDirError::Planted(_))), "{file}, {kind}: {opened:?}");
                assert_eq!(fs::read_to_string(&precious).expect("is there"), "precious", "{file}, {kind}");
                fs::remove_dir_all(&given).expect("removed");
            }
        }
    }

    #[test]
    fn a_lock_file_of_before_keeps_what_is_in_it() {
        let parent = tempfile::tempdir().expect("a directory");
        let file = parent.path().join(LOCK_FILE);
        fs::write(&file, "of a script").expect("written");
        drop(LockedDir::open(parent.path()).expect("opens"));
        assert_eq!(fs::read_to_string(file).expect("is there"), "of a script");
    }

    #[test]
    fn a_state_directory_of_somebody_else_is_refused_and_one_of_roots_is_not() {
        let parent = tempfile::tempdir().expect("a directory");
        let given = parent.path().join("given");
        fs::create_dir(&given).expect("made");
        if chown(&given, Some(4_242), Some(4_242)).is_err() {
            // Only root can give a directory away.
            return;
        }
        let error = LockedDir::open(&given).expect_err("is another's");
        assert!(error.to_string().contains("belongs to user 4242"), "{error}");
        assert!(!given.join(LOCK_FILE).exists(), "nothing is made in it");
        let link = parent.path().join("link");
        symlink("to-be-made", &link).expect("made");
        lchown(&link, Some(4_242), None).expect("given");
        assert!(matches!(LockedDir::open(&link), Err(LockedDirError::ForeignLink { .. })));
        assert!(!parent.path().join("to-be-made").exists(), "nothing is made behind it");
        // As a volume of Kubernetes with fsGroup is.
        chown(&given, Some(0), Some(4_242)).expect("given back");
        fs::set_permissions(&given, fs::Permissions::from_mode(0o2775)).expect("set");
        LockedDir::open(&given).expect("opens");
        chown(given.join(LOCK_FILE), Some(4_242), None).expect("given");
        assert!(matches!(LockedDir::open(&given), Err(LockedDirError::Planted(_))));
    }
}
