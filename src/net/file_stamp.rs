//! Tells whether a file is another one than before, without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What another file, or another text of it, does not have in common: device, inode, length, and seconds and nanoseconds of
/// its change. `None` where the file cannot be looked at.
pub type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Looks at the file that `path` leads to.
pub fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.ctime(), file.ctime_nsec()))
}
