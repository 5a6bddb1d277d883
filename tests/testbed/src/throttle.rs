//! Leaves next to no CPU to some processes, by a control group.
//!
//! So it is in a container of Cloud Run between requests. The group is its own, in version 1 or 2.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// The longest that the kernel takes, in microseconds. The shortest part of it that it grants is a thousandth.
const PERIOD: u32 = 1_000_000;

/// Tests of one process have a group each.
static GROUPS: AtomicU32 = AtomicU32::new(0);

/// The group; dropped, it is removed, which needs the end of all its processes.
pub struct Throttle {
    group: PathBuf,
    is_first_version: bool,
}

impl Throttle {
    pub fn new() -> Result<Self> {
        let first = Path::new("/sys/fs/cgroup/cpu");
        let place = if first.is_dir() { first } else { Path::new("/sys/fs/cgroup") };
        let number = GROUPS.fetch_add(1, Ordering::Relaxed);
        let group = place.join(format!("testbed-throttle-{}-{number}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("cannot make the control group {}", group.display()))?;
        Ok(Self { group, is_first_version: first.is_dir() })
    }

    /// Takes the process in.
    pub fn take(&self, pid: i32) -> Result<()> {
        self.write("cgroup.procs", &pid.to_string())
    }

    /// So many thousandths of one core from now on.
    pub fn throttle(&self, thousandths: u32) -> Result<()> {
        let quota = thousandths * (PERIOD / 1000);
        if self.is_first_version {
            self.write("cpu.cfs_period_us", &PERIOD.to_string())?;
            return self.write("cpu.cfs_quota_us", &quota.to_string());
        }
        self.write("cpu.max", &format!("{quota} {PERIOD}"))
    }

    /// As much as they want.
    pub fn release(&self) -> Result<()> {
        if self.is_first_version { self.write("cpu.cfs_quota_us", "-1") } else { self.write("cpu.max", "max") }
    }

    /// In how many periods they wanted more than they got.
    pub fn times(&self) -> Result<u64> {
        let text = fs::read_to_string(self.group.join("cpu.stat"))?;
        let times = text.lines().find_map(|line| line.strip_prefix("nr_throttled ")).context("no such count")?;
        times.parse().context("not a number")
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        let path = self.group.join(file);
        fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}
