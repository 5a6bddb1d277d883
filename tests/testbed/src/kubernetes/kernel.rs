//! Puts back what a kubelet changes for the whole machine.
//!
//! These are three settings of the kernel, its control groups, and mounts. One kubelet at a time holds them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::wait::wait_until;

const SETTINGS: [&str; 3] = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops"];
/// The kernel takes processes out of their groups some time after their end.
const EMPTY: Duration = Duration::from_secs(5);

/// Settings as they were, written back when it is dropped.
pub(super) struct Settings {
    values: Vec<(PathBuf, String)>,
    _lock: Flock<File>,
}

impl Settings {
    /// Waits until no other kubelet of a test runs on this machine.
    pub(super) fn take() -> Result<Self> {
        let file = File::create(std::env::temp_dir().join("testbed-kubelet.lock"))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        let read = |name: &str| {
            let path = Path::new("/proc/sys").join(name);
            let value = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok((path, value))
        };
        Ok(Self { values: SETTINGS.into_iter().map(read).collect::<Result<_>>()?, _lock: lock })
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        for (path, value) in &self.values {
            let _ = fs::write(path, value);
        }
    }
}

/// A control group at the root of every hierarchy, for all pods; removed with those below it when it is dropped.
pub(super) struct ControlGroup(String);

impl ControlGroup {
    pub(super) fn new() -> Result<Self> {
        let group = Self(format!("testbed-kubelet-{}", std::process::id()));
        for hierarchy in hierarchies() {
            let place = hierarchy.join(&group.0);
            fs::create_dir(&place).with_context(|| format!("cannot make the control group {}", place.display()))?;
        }
        Ok(group)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        for hierarchy in hierarchies() {
            let place = hierarchy.join(&self.0);
            let _ = wait_until("the control group is empty", EMPTY, || {
                remove(&place);
                (!place.exists()).then_some(())
            });
        }
    }
}

/// The roots of version 1 (its named one for systemd too, where the kubelet looks), or the only one of version 2.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").is_file() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    // Where several are mounted together, the others are links.
    entries.filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}

/// Takes away every mount below `directory`, the last one first.
pub(super) fn unmount_below(directory: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<_> = places.filter(|place| Path::new(place).starts_with(directory)).collect();
    below.reverse();
    for place in below {
        let _ = Command::new("umount").args(["--lazy", place]).output();
    }
}
