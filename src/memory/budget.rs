//! Computes tailscaled's share of the container's memory limit.

use std::fmt;

use crate::memory::cgroup::CgroupMemory;

/// The control groups that limit memory, and whether an application shares it.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    pub cgroups: CgroupMemory,
    pub sharing: Sharing,
    /// Number of daemons that have the limit together.
    pub daemons: Daemons,
}

impl MemoryBudget {
    /// Computes tailscaled's share of the limit that holds now; `None` without a limit.
    pub fn share(&self) -> Option<Share> {
        self.cgroups.limit().map(|limit| self.share_of(limit))
    }

    /// Computes tailscaled's share of a limit in bytes.
    pub fn share_of(&self, limit: u64) -> Share {
        Share { daemons: self.daemons, ..Share::of(limit, self.sharing) }
    }
}

/// Number of daemons, each with a tailscaled, that have a limit together.
pub type Daemons = std::num::NonZeroU64;

/// One daemon alone.
pub const ONE_DAEMON: Daemons = Daemons::MIN;

/// What else is in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// tetherd and tailscaled have it to themselves.
    Alone,
    /// An application needs its part: in the same container, or in another one of the same pod or task.
    WithApplication,
}

impl Sharing {
    /// Returns tailscaled's part in percent. Its heap goes beyond the limit by what the garbage collector cannot keep
    /// up with, most where there is little: docs/performance.md has the peaks.
    fn percent(self) -> u64 {
        match self {
            Self::Alone => 75,
            Self::WithApplication => 40,
        }
    }
}

/// Smallest limit for tailscaled that is chosen by default, in bytes: with less its collector works without end.
const LEAST_BY_DEFAULT: u64 = 32 << 20;

/// Bytes left to tetherd (4 to 10 MiB) and to what tailscaled takes beyond its limit, where the group is large enough.
/// With 48 MiB, 32 streams both ways got a group of 128 MiB killed for lack of memory in two of three runs.
const RESERVE: u64 = 64 << 20;

/// tailscaled's part of what a control group allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// What the group allows, in bytes.
    limit: u64,
    sharing: Sharing,
    daemons: Daemons,
}

impl Share {
    /// The share of a container that may use `limit` bytes.
    pub fn of(limit: u64, sharing: Sharing) -> Self {
        Self { limit, sharing, daemons: ONE_DAEMON }
    }

    /// Returns the share in bytes.
    pub fn bytes(self) -> u64 {
        self.part().min(self.rest()).max(LEAST_BY_DEFAULT)
    }

    /// What this daemon may use with its tailscaled.
    fn of_daemon(self) -> u64 {
        self.limit / self.daemons
    }

    fn part(self) -> u64 {
        self.of_daemon() / 100 * self.sharing.percent()
    }

    fn rest(self) -> u64 {
        self.of_daemon().saturating_sub(RESERVE)
    }

    /// Writes the share as the value of a setting, such as "204MiB".
    pub fn size(self) -> String {
        format!("{}MiB", self.bytes() >> 20)
    }
}

/// Says how the share was computed, for a person.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.part().min(self.rest()) < LEAST_BY_DEFAULT {
            f.write_str("the least that tailscaled needs")?;
        } else if self.rest() < self.part() {
            write!(f, "all but {} MiB", RESERVE >> 20)?;
        } else {
            write!(f, "{} %", self.sharing.percent())?;
        }
        let divided = if self.daemons == ONE_DAEMON {
            String::new()
        } else {
            format!(" the {} MiB that each of {} tailnets has of", self.of_daemon() >> 20, self.daemons)
        };
        write!(f, " of{divided} the {} MiB of the control group", self.limit >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_daemons_have_equal_parts_each_of_which_leaves_room() {
        let share = |mib: u64, daemons: u64, sharing| {
            let daemons = Daemons::new(daemons).expect("some");
            Share { daemons, ..Share::of(mib << 20, sharing) }
        };
        for (mib, daemons, sharing, size) in [
            (1024, 1, Sharing::Alone, 767),
            (1024, 2, Sharing::Alone, 383),
            (512, 2, Sharing::Alone, 191),
            (512, 4, Sharing::Alone, 64),
            (1024, 2, Sharing::WithApplication, 204),
            (128, 4, Sharing::Alone, 32),
        ] {
            assert_eq!(share(mib, daemons, sharing).size(), format!("{size}MiB"), "{mib} {daemons}");
            assert!(daemons * size <= mib, "{mib} {daemons}");
        }
        assert_eq!(
            share(512, 2, Sharing::Alone).to_string(),
            "75 % of the 256 MiB that each of 2 tailnets has of the 512 MiB of the control group"
        );
    }

    #[test]
    fn tailscaled_gets_a_part_that_leaves_room_and_a_least_amount() {
        let size = |mib: u64, sharing| Share::of(mib << 20, sharing).size();
        assert_eq!(size(512, Sharing::WithApplication), "204MiB");
        assert_eq!(size(512, Sharing::Alone), "383MiB");
        assert_eq!(size(128, Sharing::Alone), "64MiB");
        assert_eq!(size(16, Sharing::Alone), "32MiB");
        assert_eq!(
            Share::of(128 << 20, Sharing::Alone).to_string(),
            "all but 64 MiB of the 128 MiB of the control group"
        );
        let least = "the least that tailscaled needs of the 64 MiB of the control group";
        assert_eq!(Share::of(64 << 20, Sharing::Alone).to_string(), least);
        assert_eq!(Share::of(256 << 20, Sharing::Alone).to_string(), "75 % of the 256 MiB of the control group");
        for mib in [128, 256, 512, 4096] {
            let (alone, shared) =
                (Share::of(mib << 20, Sharing::Alone), Share::of(mib << 20, Sharing::WithApplication));
            assert!(shared.bytes() < alone.bytes() && alone.bytes() < mib << 20, "{mib}");
        }
    }
}
