//! Finds the processes that descend from one.
//!
//! A process whose parent has ended descends from nobody any more: another one has adopted it.

use std::fs;

use nix::unistd::Pid;

/// Most generations that are looked at.
const GENERATIONS: usize = 16;

/// Parent and effective user of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    pub parent: i32,
    pub uid: u32,
}

/// Returns parent and user of a process; `None` where there is no such process, or /proc does not show it.
pub fn lineage_of(pid: i32) -> Option<Lineage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field =
        |name: &str, at: usize| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().nth(at));
    // The users of a process are the real, effective, saved and file system one.
    Some(Lineage { parent: field("PPid:", 0)?.parse().ok()?, uid: field("Uid:", 1)?.parse().ok()? })
}

/// Whether `pid` is `ancestor` or one of its descendants, by what `lineage` tells of each process.
pub fn descends_from(pid: i32, ancestor: i32, lineage: impl Fn(i32) -> Option<Lineage>) -> bool {
    let mut current = pid;
    for _ in 0..GENERATIONS {
        if current == ancestor {
            return true;
        }
        let Some(found) = lineage(current).filter(|found| found.parent > 0) else { return false };
        current = found.parent;
    }
    false
}

/// Returns the descendants of `ancestor` that the kernel lists (CONFIG_PROC_CHILDREN), without itself.
pub fn descendants_of(ancestor: Pid) -> Vec<Pid> {
    let (mut found, mut next) = (Vec::new(), vec![ancestor.as_raw()]);
    for _ in 0..GENERATIONS {
        let children: Vec<i32> = next.iter().flat_map(|pid| children_of(*pid)).collect();
        found.extend(children.iter().map(|pid| Pid::from_raw(*pid)));
        next = children;
    }
    found
}

/// The children of all threads of a process.
fn children_of(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{geteuid, getpid, getppid};
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_knows_its_own_lineage() {
        let own = lineage_of(getpid().as_raw()).expect("is there");
        assert_eq!(own, Lineage { parent: getppid().as_raw(), uid: geteuid().as_raw() });
        assert_eq!(lineage_of(i32::MAX), None);
    }

    #[test]
    fn descent_goes_by_parents_and_is_bounded() {
        let family = |pid| match pid {
            20 => Some(Lineage { parent: 10, uid: 0 }),
            21 => Some(Lineage { parent: 20, uid: 0 }),
            30 => Some(Lineage { parent: 1, uid: 0 }),
            1 => Some(Lineage { parent: 0, uid: 0 }),
            // Each is the parent of the next.
            100..200 => Some(Lineage { parent: pid - 1, uid: 0 }),
            _ => None,
        };
        for (pid, ancestor, expected) in
            [(20, 20, true), (21, 20, true), (21, 10, true), (30, 20, false), (31, 20, false), (0, 20, false)]
        {
            assert_eq!(descends_from(pid, ancestor, family), expected, "{pid} of {ancestor}");
        }
        assert!(descends_from(110, 100, family) && !descends_from(199, 100, family));
    }

    #[test]
    fn descendants_are_found_in_another_session_too() {
        let script = "setsid sh -c 'sleep 60 & echo $!; wait' & wait";
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("says its number");
        let deepest = Pid::from_raw(line.trim().parse().expect("a number"));
        let found = descendants_of(Pid::from_raw(child.id() as i32));
        assert!(found.contains(&deepest), "{found:?}");
        assert!(descends_from(deepest.as_raw(), child.id() as i32, lineage_of));
        for pid in found {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        child.wait().expect("ended");
    }
}
