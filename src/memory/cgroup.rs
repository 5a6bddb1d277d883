//! Reads memory limits and usage of this process's control groups, v1 or v2.
//!
//! <https://docs.kernel.org/admin-guide/cgroup-v2.html>, <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes from which on a number means no limit; version 1 writes it as the largest multiple of a page.
const MEANS_NO_LIMIT: u64 = 1 << 60;

/// Names that a version of control groups has for the same facts.
#[derive(Debug)]
struct FileNames {
    limits: &'static [&'static str],
    usage: &'static str,
    /// Field of `memory.stat` with the limit that holds here, which tells of groups that a container cannot see.
    inherited: Option<&'static str>,
    /// Fields of `memory.stat` with what the kernel can drop immediately.
    droppable: [&'static str; 2],
}

const VERSION_1: FileNames = FileNames {
    limits: &["memory.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    inherited: Some("hierarchical_memory_limit"),
    droppable: ["total_inactive_file", "total_active_file"],
};

/// Beyond `memory.high` processes are slowed down so much that it is a limit, too.
const VERSION_2: FileNames = FileNames {
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    inherited: None,
    droppable: ["inactive_file", "active_file"],
};

/// The memory control group of this process and those above, as far as they can be seen.
#[derive(Clone, Debug)]
pub struct CgroupMemory {
    files: &'static FileNames,
    /// One for each group, the own one first.
    directories: Vec<PathBuf>,
}

/// Memory of a group, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub used: u64,
    pub limit: u64,
}

impl CgroupMemory {
    /// Finds the groups of this process. `None` where nothing counts memory.
    pub fn of_this_process() -> Option<Self> {
        let text = |name: &str| fs::read_to_string(Path::new("/proc/self").join(name)).unwrap_or_default();
        Self::find(&text("cgroup"), &text("mountinfo"))
    }

    /// Finds the groups from the text of `/proc/self/cgroup` and `/proc/self/mountinfo`.
    fn find(groups: &str, mounts: &str) -> Option<Self> {
        let first = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == "memory").then_some((&VERSION_1, path))
        });
        let second = || groups.lines().find_map(|line| line.strip_prefix("0::")).map(|path| (&VERSION_2, path));
        let (files, path) = first.or_else(second)?;
        let (root, point) = mounts.lines().find_map(|line| memory_mount(line, files.inherited.is_some()))?;
        // Where the mount shows another part of the tree, as without a cgroup namespace, only the top of the mount can
        // be read.
        let below = Path::new(path).strip_prefix(&root).unwrap_or(Path::new(""));
        let own = point.join(below);
        let directories = own.ancestors().take_while(|directory| directory.starts_with(&point));
        Some(Self { files, directories: directories.map(Path::to_owned).collect() })
    }

    /// Stands for one group of version 2.
    #[cfg(test)]
    pub fn at(directory: PathBuf) -> Self {
        Self { files: &VERSION_2, directories: vec![directory] }
    }

    /// Returns the smallest limit of all, in bytes; `None` where nothing limits memory.
    pub fn limit(&self) -> Option<u64> {
        self.directories.iter().filter_map(|directory| self.limit_of(directory)).min()
    }

    /// Whether the smallest limit is that of a group above the own one, too, in which others may be: a pod, a task.
    pub fn shares_the_limit(&self) -> bool {
        let Some((own, above)) = self.directories.split_first() else { return false };
        let (limit, of_its_own) = (self.limit(), self.limits_in(own).min());
        let least_above = above.iter().filter_map(|directory| self.limit_of(directory)).min();
        limit.is_some() && (limit != of_its_own || limit == least_above)
    }

    /// Returns the usage of the group that has the least left. Cached files do not count: the kernel drops them before
    /// it kills.
    pub fn tightest(&self) -> Option<Usage> {
        let usages = self.directories.iter().filter_map(|directory| {
            let limit = self.limit_of(directory)?;
            let droppable: u64 =
                self.files.droppable.iter().filter_map(|name| field(&directory.join("memory.stat"), name)).sum();
            let used = number(&directory.join(self.files.usage))?.saturating_sub(droppable);
            Some(Usage { used, limit })
        });
        usages.min_by_key(|usage| usage.limit.saturating_sub(usage.used))
    }

    /// Reads the limit that holds in a group, in bytes.
    fn limit_of(&self, directory: &Path) -> Option<u64> {
        let inherited = self.files.inherited.and_then(|name| field(&directory.join("memory.stat"), name));
        self.limits_in(directory).chain(inherited).filter(|limit| *limit < MEANS_NO_LIMIT).min()
    }

    /// Reads the limits that a group itself sets, in bytes.
    fn limits_in(&self, directory: &Path) -> impl Iterator<Item = u64> {
        let limits = self.files.limits.iter().filter_map(|name| number(&directory.join(name)));
        limits.filter(|limit| *limit < MEANS_NO_LIMIT)
    }
}

/// Returns root and mount point of a line of mountinfo that shows memory's groups (proc_pid_mountinfo(5)).
fn memory_mount(line: &str, first: bool) -> Option<(PathBuf, PathBuf)> {
    let (location, kind) = line.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let fits = match kind.next()? {
        "cgroup" => first && kind.next_back()?.split(',').any(|option| option == "memory"),
        "cgroup2" => !first,
        _ => false,
    };
    let mut location = location.split(' ').skip(3).map(|path| PathBuf::from(path.replace("\\040", " ")));
    fits.then_some((location.next()?, location.next()?))
}

/// Reads a number from a file. `None` for "max" and for what cannot be read.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Reads one field of a file with a name and a number on each line.
fn field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const MIB: u64 = 1 << 20;

    /// Files below a directory that stands for a mount point.
    fn tree(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        directory
    }

    fn second(directory: &TempDir, root: &str, path: &str) -> CgroupMemory {
        let mounts = format!(
            "29 23 0:26 / /sys rw - sysfs sysfs rw\n30 29 0:27 {root} {} rw,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n",
            directory.path().display()
        );
        CgroupMemory::find(&format!("0::{path}\n"), &mounts).expect("groups")
    }

    #[test]
    fn the_smallest_limit_of_all_groups_above_counts() {
        let files = tree(&[
            ("memory.max", "max\n"),
            ("pod/memory.max", "268435456\n"),
            ("pod/memory.high", "max\n"),
            ("pod/container/memory.max", "max\n"),
        ]);
        let container = second(&files, "/", "/pod/container");
        assert_eq!(container.limit(), Some(256 * MIB));
        assert!(container.shares_the_limit());
        assert!(!second(&files, "/", "/pod").shares_the_limit());
        fs::write(files.path().join("pod/container/memory.max"), "268435456\n").expect("written");
        assert!(container.shares_the_limit(), "the pod is no larger than its container");
        fs::write(files.path().join("pod/container/memory.max"), "134217728\n").expect("written");
        assert!(!container.shares_the_limit());
        assert_eq!(second(&files, "/", "/").limit(), None);
    }

    #[test]
    fn a_high_mark_is_a_limit() {
        let files = tree(&[("memory.max", "268435456\n"), ("memory.high", "134217728\n")]);
        assert_eq!(second(&files, "/", "/").limit(), Some(128 * MIB));
    }

    #[test]
    fn without_a_namespace_the_top_of_the_mount_is_the_containers_own_group() {
        let files = tree(&[("memory.max", "268435456\n")]);
        assert_eq!(second(&files, "/docker/abc", "/docker/abc").limit(), Some(256 * MIB));
        assert_eq!(second(&files, "/docker/abc", "/elsewhere").limit(), Some(256 * MIB));
    }

    #[test]
    fn the_first_version_tells_of_limits_above_what_can_be_seen() {
        let unlimited = "9223372036854771712\n";
        let stat = "cache 1\nhierarchical_memory_limit 134217728\ntotal_inactive_file 1048576\ntotal_active_file 0\n";
        let files = tree(&[
            ("memory.limit_in_bytes", unlimited),
            ("memory.stat", stat),
            ("memory.usage_in_bytes", "68157440\n"),
        ]);
        let mounts = format!(
            "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n34 31 0:31 / {}/cpu rw - cgroup cgroup rw,cpu\n\
             35 31 0:32 /a {} rw - cgroup cgroup rw,memory\n41 31 0:38 / /unified rw - cgroup2 cgroup2 rw\n",
            files.path().display(),
            files.path().display()
        );
        let groups = CgroupMemory::find("4:memory:/a\n2:cpu:/\n0::/\n", &mounts).expect("groups");
        assert_eq!(groups.limit(), Some(128 * MIB));
        assert_eq!(groups.tightest(), Some(Usage { used: 64 * MIB, limit: 128 * MIB }));
    }

    #[test]
    fn the_group_with_the_least_left_is_the_tightest() {
        let stat = "anon 1\ninactive_file 10485760\nactive_file 0\n";
        let files = tree(&[
            ("memory.max", "536870912\n"),
            ("memory.current", "524288000\n"),
            ("memory.stat", stat),
            ("a/memory.max", "268435456\n"),
            ("a/memory.current", "52428800\n"),
            ("a/memory.stat", stat),
        ]);
        let tightest = second(&files, "/", "/a").tightest();
        assert_eq!(tightest, Some(Usage { used: 490 * MIB, limit: 512 * MIB }));
    }

    #[test]
    fn where_nothing_counts_memory_there_is_no_limit() {
        assert!(CgroupMemory::find("", "").is_none());
        let mounts = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(CgroupMemory::find("0::/\n", mounts).and_then(|groups| groups.limit()), None);
    }
}
