//! Sets a memory limit for a process and all it starts, by a control group.
//!
//! The group is its own, in version 1 or 2 of control groups.

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
        let place = if first.is_dir() { first } else { Path::new("/sys/fs/cgroup") };
        let group = place.join(name.replace(['(', ')'], ""));
        fs::create_dir(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
        let group = Self(group);
        group.limit(bytes)?;
        Ok(group)
    }

    /// It may use `bytes` from now on.
    pub fn limit(&self, bytes: u64) -> Result<()> {
        let first = self.0.join("memory.limit_in_bytes");
        let file = if first.is_file() { first } else { self.0.join("memory.max") };
        fs::write(file, bytes.to_string()).context("cannot limit the control group")
    }

    /// Takes the process in; what it starts from now on is in it as well.
    pub fn take(&self, pid: i32) -> Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).context("cannot move a process into the control group")
    }

    /// Where it is; a shell that writes its number to `cgroup.procs` there starts what it execs inside.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Bytes that it uses now, files that can be dropped included.
    pub fn usage(&self) -> Result<u64> {
        let text = self.read(["memory.usage_in_bytes", "memory.current"])?;
        text.trim().parse().context("its usage is no number")
    }

    /// The most that it ever used.
    pub fn peak(&self) -> Result<u64> {
        let text = self.read(["memory.max_usage_in_bytes", "memory.peak"])?;
        text.trim().parse().context("its peak is no number")
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub fn has_killed(&self) -> Result<bool> {
        let text = self.read(["memory.oom_control", "memory.events"])?;
        let killed = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(killed.context("no count of kills")?.trim() != "0")
    }

    /// A file, by its name in version 1 and in version 2.
    fn read(&self, names: [&str; 2]) -> Result<String> {
        let [first, second] = names.map(|name| self.0.join(name));
        fs::read_to_string(&first)
            .or_else(|_| fs::read_to_string(&second))
            .with_context(|| format!("cannot read {}", second.display()))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
