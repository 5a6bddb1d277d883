//! Limits of memory and CPU for a process and all it starts: a group of its own, in version 1 or 2 of control groups.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Dropped, it is removed, which needs the end of all its processes.
struct Group(PathBuf);

impl Group {
    /// With the path of `first` in version 1, and of `second` in version 2.
    fn new<'a>(controller: &str, first: &'a str, second: &'a str) -> Result<(Self, &'a str)> {
        let name = format!("testbed-{}-{:?}", std::process::id(), std::thread::current().id());
        let hierarchy = Path::new("/sys/fs/cgroup").join(controller);
        let (place, file) = match hierarchy.is_dir() {
            true => (hierarchy.as_path(), first),
            false => (Path::new("/sys/fs/cgroup"), second),
        };
        let group = place.join(name.replace(['(', ')'], ""));
        fs::create_dir(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
        Ok((Self(group), file))
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.0.join(file);
        fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
    }

    fn take(&self, pid: i32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A group with a limit of memory.
pub struct MemoryGroup(Group);

impl MemoryGroup {
    /// A group that may use `bytes`, and no swap.
    pub fn new(bytes: u64) -> Result<Self> {
        let (group, limit) = Group::new("memory", "memory.limit_in_bytes", "memory.max")?;
        group.write(limit, &bytes.to_string())?;
        Ok(Self(group))
    }

    /// Takes the process in; what it starts from now on is in it as well.
    pub fn take(&self, pid: i32) -> Result<()> {
        self.0.take(pid)
    }

    /// Whether the kernel has killed something in it for want of memory.
    pub fn has_killed(&self) -> Result<bool> {
        let file = ["memory.oom_control", "memory.events"].map(|name| self.0.0.join(name));
        let text = fs::read_to_string(&file[0]).or_else(|_| fs::read_to_string(&file[1]))?;
        let killed = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(killed.context("no count of kills")?.trim() != "0")
    }
}

/// A group that gets next to no CPU, as a container of Cloud Run does between requests.
pub struct CpuGroup {
    group: Group,
    quota: &'static str,
}

/// The longest that the kernel takes, and the shortest share of it, in microseconds.
const PERIOD: &str = "1000000";
const THROTTLED: &str = "1000";

impl CpuGroup {
    pub fn new() -> Result<Self> {
        let (group, quota) = Group::new("cpu", "cpu.cfs_quota_us", "cpu.max")?;
        Ok(Self { group, quota })
    }

    /// Takes the process in.
    pub fn take(&self, pid: i32) -> Result<()> {
        self.group.take(pid)
    }

    /// A thousandth of one core from now on.
    pub fn throttle(&self) -> Result<()> {
        if self.quota == "cpu.max" {
            return self.group.write(self.quota, &format!("{THROTTLED} {PERIOD}"));
        }
        self.group.write("cpu.cfs_period_us", PERIOD)?;
        self.group.write(self.quota, THROTTLED)
    }

    /// As much as it wants.
    pub fn release(&self) -> Result<()> {
        self.group.write(self.quota, if self.quota == "cpu.max" { "max" } else { "-1" })
    }
}
