//! Follows the memory limit of the control group while the daemon runs: it may be changed for a running container
//! (`docker update`, in-place resize of pods).

use crate::memory::budget::{Share, Sharing};
use crate::memory::cgroup::CgroupMemory;

/// For tailscaled where nothing bounds memory, in bytes: what Go takes for no limit.
const UNLIMITED: u64 = i64::MAX as u64;

/// Notices when the limit has changed.
#[derive(Debug)]
pub struct LimitWatch {
    groups: CgroupMemory,
    sharing: Sharing,
    last: Option<u64>,
}

impl LimitWatch {
    /// Takes the limit of now for known.
    pub fn new(groups: CgroupMemory, sharing: Sharing) -> Self {
        let last = groups.limit();
        Self { groups, sharing, last }
    }

    /// tailscaled's share of the limit in bytes, if that has changed since the last look.
    pub fn changed(&mut self) -> Option<u64> {
        let now = self.groups.limit();
        if now == self.last {
            return None;
        }
        self.last = now;
        Some(now.map_or(UNLIMITED, |limit| Share::of(limit, self.sharing).bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_changed_limit_is_noticed_once_and_a_lifted_one_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("memory.max");
        fs::write(&file, "268435456\n").expect("written");
        let groups = CgroupMemory::at(directory.path().to_owned());
        let mut watch = LimitWatch::new(groups, Sharing::Alone);
        assert_eq!(watch.changed(), None);
        fs::write(&file, "536870912\n").expect("written");
        assert_eq!(watch.changed(), Some(Share::of(512 << 20, Sharing::Alone).bytes()));
        assert_eq!(watch.changed(), None);
        fs::write(&file, "max\n").expect("written");
        assert_eq!(watch.changed(), Some(UNLIMITED));
    }
}
