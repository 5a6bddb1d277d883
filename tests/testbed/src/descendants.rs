//! The process tree below a process, read from /proc.

use std::collections::HashMap;
use std::fs;

/// One line of /proc/PID/stat.
#[derive(Clone, Debug)]
pub struct Entry {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    /// Cut to 15 bytes by the kernel.
    pub name: String,
    /// Ended, but not yet waited for by its parent.
    pub zombie: bool,
}

/// The process `pid`, if there is one.
pub fn entry(pid: i32) -> Option<Entry> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may contain any character, those two included.
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Entry { pid, parent, group, name, zombie })
}

/// Whether `pid` runs; a zombie does not.
pub fn is_running(pid: i32) -> bool {
    entry(pid).is_some_and(|entry| !entry.zombie)
}

/// Everything started by `pid` and, transitively, by what it started; `pid` itself is not in it.
pub fn below(pid: i32) -> Vec<Entry> {
    let mut children: HashMap<i32, Vec<Entry>> = HashMap::new();
    for entry in all() {
        children.entry(entry.parent).or_default().push(entry);
    }
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for entry in children.remove(&parent).unwrap_or_default() {
            parents.push(entry.pid);
            found.push(entry);
        }
    }
    found
}

fn all() -> Vec<Entry> {
    let Ok(directory) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    directory.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).filter_map(entry).collect()
}
