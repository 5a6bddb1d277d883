//! Tells who else may write to a directory.
//!
//! Who may write to it can take the place of what is in it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid, getgroups};

/// The user whom the kernel shows for those that a user namespace does not know (user_namespaces(7)).
const UNKNOWN_USER: u32 = 65_534;

/// Mode bits of directories: writing by group and others, and that only its owner may replace a file.
const GROUP_WRITES: u32 = 0o020;
pub const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Links that are followed before a path counts as a circle, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Whether a file or directory of `owner` can be trusted not to be changed by others: it is this user's, or root's.
pub fn is_trusted(owner: u32) -> bool {
    owner == geteuid().as_raw() || owner == 0
}

/// Says who besides this user and root may take the place of a file in `directory`, or of a directory on the way to it;
/// `None` where nobody can.
///
/// # Errors
/// When one of the directories cannot be looked at.
pub fn open_to(directory: &Path) -> io::Result<Option<String>> {
    open_beside(directory, &own_groups())
}

/// The groups of this process, supplementary ones included, as which a volume comes in Kubernetes (`fsGroup`), and root's.
fn own_groups() -> Vec<u32> {
    let supplementary = getgroups().unwrap_or_default().into_iter();
    supplementary.chain([getegid()]).map(|group| group.as_raw()).chain([0]).collect()
}

/// The same where the members of `groups` may write.
fn open_beside(directory: &Path, groups: &[u32]) -> io::Result<Option<String>> {
    let directory = fs::canonicalize(directory)?;
    for (steps, on_the_way) in directory.ancestors().enumerate() {
        let found = fs::metadata(on_the_way)?;
        let is_foreign_group = !groups.contains(&found.gid());
        // On the way, only the owner of the next directory may put another in its place.
        let keeps_owner = steps > 0 && found.mode() & STICKY != 0;
        let who = if !is_trusted(found.uid()) && (steps == 0 || found.uid() != UNKNOWN_USER) {
            format!("user {}, to whom it belongs", found.uid())
        } else if found.mode() & OTHERS_WRITE != 0 && !keeps_owner {
            "every user".to_owned()
        } else if found.mode() & GROUP_WRITES != 0 && is_foreign_group && !keeps_owner {
            format!("group {}", found.gid())
        } else {
            continue;
        };
        return Ok(Some(format!("{} may be written to by {who}", on_the_way.display())));
    }
    Ok(None)
}

/// Returns the first link on the way of `path`, itself included, that belongs to another user than this one and root, and so
/// decides where the path leads; `None` where there is none. What is missing is no link.
///
/// # Errors
/// When a link cannot be read, or the links are a circle.
pub fn foreign_link(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut followed = 0;
    // Steps that are still to go, the next one last, and the way so far, which has no link.
    let absolute = std::path::absolute(path)?;
    let steps = |path: &Path| path.iter().rev().map(OsStr::to_owned).collect::<Vec<OsString>>();
    let (mut ahead, mut way) = (steps(&absolute), PathBuf::from("/"));
    while let Some(step) = ahead.pop() {
        if step == ".." {
            way.pop();
            continue;
        }
        let next = way.join(&step);
        let Some(found) = fs::symlink_metadata(&next).ok().filter(Metadata::is_symlink) else {
            way = next;
            continue;
        };
        if !is_trusted(found.uid()) && found.uid() != UNKNOWN_USER {
            return Ok(Some(next));
        }
        followed += 1;
        if followed > MOST_LINKS {
            return Err(io::Error::from_raw_os_error(nix::libc::ELOOP));
        }
        ahead.extend(steps(&fs::read_link(&next)?));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    #[test]
    fn directories_of_others_and_those_that_others_may_write_to_are_open() {
        let root = tempfile::tempdir().expect("a directory");
        let (outer, inner) = (root.path().join("outer"), root.path().join("outer/inner"));
        fs::create_dir_all(&inner).expect("made");
        let set = |path: &Path, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        };
        for (outer_mode, inner_mode, open) in [
            (0o755, 0o700, None),
            (0o755, 0o755, None),
            (0o755, 0o770, None),
            (0o755, 0o777, Some("inner may be written to by every user")),
            (0o755, 0o1777, Some("inner may be written to by every user")),
            (0o777, 0o700, Some("outer may be written to by every user")),
            (0o1777, 0o700, None),
        ] {
            set(&outer, outer_mode);
            set(&inner, inner_mode);
            let found = open_to(&inner).expect("is looked at");
            let what = format!("{outer_mode:o} {inner_mode:o}: {found:?}");
            assert_eq!(found.is_some(), open.is_some(), "{what}");
            assert!(found.is_none_or(|text| text.contains(open.unwrap_or_default())), "{what}");
        }
        if !geteuid().is_root() || std::os::unix::fs::chown(&inner, Some(4_242), Some(4_242)).is_err() {
            return;
        }
        set(&outer, 0o755);
        set(&inner, 0o755);
        let found = open_to(&inner).expect("is looked at").expect("is another's");
        assert!(found.ends_with("user 4242, to whom it belongs"), "{found}");
        std::os::unix::fs::chown(&inner, Some(0), Some(4_242)).expect("given");
        set(&inner, 0o2770);
        let found = open_to(&inner).expect("is looked at").expect("is a group's");
        assert!(found.ends_with("group 4242"), "{found}");
        let supplementary = [own_groups(), vec![4_242]].concat();
        assert_eq!(open_beside(&inner, &supplementary).expect("is looked at"), None, "it is a group of this process");
    }

    #[test]
    fn a_link_of_another_user_is_found_wherever_it_is_on_the_way() {
        let root = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(root.path()).expect("is there");
        fs::create_dir_all(root.join("real/state")).expect("made");
        let link = |to: &str, name: &str, owner: Option<u32>| {
            let path = root.join(name);
            symlink(to, &path).expect("made");
            lchown(&path, owner, None).is_ok()
        };
        link("real", "ours", None);
        link("ours/../ours/state", "two", None);
        link("circle", "circle", None);
        if !link("real/state", "theirs", Some(4_242)) || !link("missing", "dangling", Some(4_242)) {
            // Only root can give a link away.
            return;
        }
        link("theirs", "to-theirs", None);
        for (path, foreign) in [
            ("real/state", None),
            ("ours/state", None),
            ("two", None),
            ("missing/state", None),
            ("theirs", Some("theirs")),
            ("theirs/deeper", Some("theirs")),
            ("ours/../theirs", Some("theirs")),
            ("to-theirs", Some("theirs")),
            ("dangling", Some("dangling")),
        ] {
            let found = foreign_link(&root.join(path)).expect(path);
            assert_eq!(found, foreign.map(|name| root.join(name)), "{path}");
        }
        assert!(foreign_link(&root.join("circle")).is_err());
    }
}
