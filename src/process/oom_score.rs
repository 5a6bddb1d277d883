//! Makes a child process the first victim when memory is short.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::sys::prctl::set_dumpable;

/// Added to the badness by which the kernel chooses a victim when memory is short (proc_pid_oom_score_adj(5)): such a child
/// goes before the application beside it, and is started again.
const OF_A_VICTIM: i32 = 500;

/// The score of this process, which its children inherit. Clones share it.
#[derive(Clone, Default)]
pub struct OomScore(Option<Arc<File>>);

impl OomScore {
    /// Opens this process's score. To be called before the process is kept from being dumped and confined: later neither its
    /// own file in /proc nor a child's can be written to.
    ///
    /// A program that its user may not read, as that of the image, cannot be dumped from its start. There scores stay as they
    /// are, unless a command shares the memory (`beside_command`), which is not yet started.
    pub fn open(beside_command: bool) -> Self {
        Self(open_own().or_else(|| beside_command.then(open_for_a_moment)?).map(Arc::new))
    }

    /// Runs `start`, which starts a child on this thread, and has that child be a first victim. Raising a score needs no
    /// privilege, and neither does going back to where it was.
    pub fn victim<T>(&self, start: impl FnOnce() -> T) -> T {
        let Some((file, own)) = self.0.as_ref().and_then(|file| Some((file, score(file).ok()?))) else {
            return start();
        };
        let raised = own < OF_A_VICTIM && file.write_all_at(OF_A_VICTIM.to_string().as_bytes(), 0).is_ok();
        let started = start();
        if raised && let Err(error) = file.write_all_at(own.to_string().as_bytes(), 0) {
            tracing::warn!(%error, "the OOM score of this process stays raised");
        }
        started
    }
}

fn open_own() -> Option<File> {
    OpenOptions::new().read(true).write(true).open("/proc/self/oom_score_adj").ok()
}

/// Opens the score of a process that cannot be dumped, whose files in /proc are root's: for the moment it takes, this user may
/// trace it.
fn open_for_a_moment() -> Option<File> {
    set_dumpable(true).ok()?;
    let opened = open_own();
    set_dumpable(false).ok()?;
    opened
}

fn score(file: &File) -> io::Result<i32> {
    let mut text = [0; 16];
    let length = file.read_at(&mut text, 0)?;
    String::from_utf8_lossy(&text[..length]).trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_victims_score_is_inherited_and_given_back() {
        let file = "/proc/self/oom_score_adj";
        let before = std::fs::read_to_string(file).expect("readable");
        let child = OomScore::open(false).victim(|| std::process::Command::new("cat").arg(file).output());
        let child = String::from_utf8_lossy(&child.expect("runs").stdout).trim().parse::<i32>().expect("a number");
        assert!(child >= OF_A_VICTIM, "{child}");
        assert_eq!(std::fs::read_to_string(file).expect("readable"), before);
        assert_eq!(OomScore::default().victim(|| 7), 7);
    }
}
