//! Notices when the memory limit of the control group changes.
//!
//! It may be changed for a running container (`docker update`, in-place resize of pods).

use crate::memory::budget::MemoryBudget;

/// tailscaled's limit where nothing limits memory, in bytes: what Go takes for no limit.
const NO_LIMIT: u64 = i64::MAX as u64;

/// Notices when the limit has changed.
#[derive(Debug)]
pub struct LimitWatch {
    budget: MemoryBudget,
    /// The limit at the last look, in bytes.
    last: Option<u64>,
}

impl LimitWatch {
    /// Watches for limits other than the one of now.
    pub fn new(budget: MemoryBudget) -> Self {
        let last = budget.cgroups.limit();
        Self { budget, last }
    }

    /// Looks at the limit. Returns tailscaled's share of it in bytes, if it has changed since the last look.
    pub fn changed(&mut self) -> Option<u64> {
        let now = self.budget.cgroups.limit();
        if now == self.last {
            return None;
        }
        self.last = now;
        Some(now.map_or(NO_LIMIT, |limit| self.budget.share_of(limit).bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::budget::{Daemons, Sharing};
    use crate::memory::cgroup::CgroupMemory;
    use std::fs;

    #[test]
    fn a_changed_limit_is_noticed_once_and_a_lifted_one_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("memory.max");
        fs::write(&file, "268435456\n").expect("written");
        let cgroups = CgroupMemory::at(directory.path().to_owned());
        let budget = MemoryBudget { cgroups, sharing: Sharing::Alone, daemons: Daemons::new(2).expect("some") };
        let mut watch = LimitWatch::new(budget.clone());
        assert_eq!(watch.changed(), None);
        fs::write(&file, "536870912\n").expect("written");
        assert_eq!(watch.changed(), Some(budget.share_of(512 << 20).bytes()));
        assert_eq!(watch.changed(), None);
        fs::write(&file, "max\n").expect("written");
        assert_eq!(watch.changed(), Some(NO_LIMIT));
    }
}
