//! A memory limit for a process and all it starts: a group of its own, in version 1 or 2 of control groups.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The group; dropped, it is removed, which needs the end of all its processes.
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// A group that may use `bytes`, and no swap.
    pub fn new(bytes: u64) -> Result<Self> {
        let name = format!("testbed-{}-{:?}", std::process::id(), std::thread::current().id());
        let first = Path::new("/sys/fs/cgroup/memory");
        let (place, limit) = match first.is_dir() {
            true => (first, "memory.limit_in_bytes"),
            false => (Path::new("/sys/fs/cgroup"), "memory.max"),
        };
        let group = place.join(name.replace(['(', ')'], ""));
        fs::create_dir(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
        let group = Self(group);
        fs::write(group.0.join(limit), bytes.to_string()).context("cannot limit the control group")?;
        Ok(group)
    }

    /// Takes the process in; what it starts from now on is in it as well.
    pub fn take(&self, pid: i32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).context("cannot move a process into the control group")
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub fn has_killed(&self) -> Result<bool> {
        let file = ["memory.oom_control", "memory.events"].map(|name| self.0.join(name));
        let text = fs::read_to_string(&file[0]).or_else(|_| fs::read_to_string(&file[1]))?;
        let killed = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(killed.context("no count of kills")?.trim() != "0")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
