//! Restricts where files are written, and whom signals reach, by Landlock.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};
use nix::libc;

/// The newest kernel interface that is asked for; an older kernel does what it can.
const LANDLOCK: ABI = ABI::V6;

/// Something that a confined process may write. What is missing when the process is confined is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writable {
    /// Everything in this directory, and below.
    Directory(PathBuf),
    /// Sockets, which are made, moved and removed in this directory, and below.
    Sockets(PathBuf),
    /// Empty directories, which are removed from this one, and below.
    EmptyDirectories(PathBuf),
    /// What is in this file.
    File(PathBuf),
}

impl Writable {
    fn rule(self) -> (PathBuf, BitFlags<AccessFs>) {
        match self {
            Self::Directory(path) => (path, AccessFs::from_write(LANDLOCK)),
            Self::Sockets(path) => (path, make_bitflags!(AccessFs::{MakeSock | RemoveFile | Refer})),
            Self::EmptyDirectories(path) => (path, AccessFs::RemoveDir.into()),
            Self::File(path) => (path, make_bitflags!(AccessFs::{WriteFile | Truncate})),
        }
    }
}

/// Builds the rules of a process that writes `writable` and /dev/null alone.
pub fn ruleset(writable: &[Writable]) -> Result<RulesetCreated, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    let null = Writable::File("/dev/null".into());
    for (path, access) in writable.iter().cloned().chain([null]).map(Writable::rule) {
        if let Ok(place) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(place, access))?;
        }
    }
    Ok(ruleset)
}

/// Returns the version of Landlock's interface; 0 where the kernel has none.
#[allow(unsafe_code)]
pub fn landlock_version() -> i64 {
    const VERSION: libc::c_long = 1;
    // SAFETY: with this flag the call reads no memory (landlock_create_ruleset(2)).
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0, VERSION) }.max(0)
}
