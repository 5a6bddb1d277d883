//! Starts and lists the daemon's child processes.
//!
//! The reaper of orphans leaves child processes alone, they die with the daemon, and a command of the user starts as if
//! from a shell.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::sync::IgnorePoison;

/// The process ids of the children that somebody waits for. Clones share them.
#[derive(Clone, Default)]
pub struct OwnChildren(Arc<Mutex<BTreeSet<i32>>>);

impl OwnChildren {
    /// Adds a child process. Must be called before the event loop runs again, since the reaper could otherwise reap the
    /// child first.
    pub fn add(&self, pid: Pid) {
        self.0.lock().ignore_poison().insert(pid.as_raw());
    }

    /// Removes a child process. Must be called as soon as it was waited for: its process id may be given to another
    /// process.
    pub fn remove(&self, pid: Pid) {
        self.0.lock().ignore_poison().remove(&pid.as_raw());
    }

    /// Whether `pid` is a child that somebody waits for.
    pub fn contains(&self, pid: Pid) -> bool {
        self.0.lock().ignore_poison().contains(&pid.as_raw())
    }
}

/// Soft limits as they were before the daemon changed them for itself.
#[derive(Clone, Copy, Debug)]
pub struct SoftLimits([(Resource, rlim_t); 2]);

impl SoftLimits {
    /// Reads the limits of this process.
    pub fn now() -> io::Result<Self> {
        let soft = |resource| getrlimit(resource).map(|(soft, _)| (resource, soft));
        Ok(Self([soft(Resource::RLIMIT_CORE)?, soft(Resource::RLIMIT_NOFILE)?]))
    }

    /// Sets the limits again, as far as the hard ones allow.
    fn restore(&self) -> io::Result<()> {
        for (resource, soft) in self.0 {
            let (_, hard) = getrlimit(resource)?;
            setrlimit(resource, soft.min(hard), hard)?;
        }
        Ok(())
    }
}

/// Returns the umask of this process. To be called while no other thread makes files.
pub fn current_umask() -> Mode {
    // It cannot be asked for without setting another.
    let mask = umask(Mode::S_IRWXG | Mode::S_IRWXO);
    umask(mask);
    mask
}

/// Keeps every descriptor beyond stderr from the programs that this process starts: what it was started with, which may be
/// a secret's file, is for itself alone. Its own are kept from them anyway.
#[allow(unsafe_code)]
pub fn keep_descriptors_from_children() -> io::Result<()> {
    // SAFETY: the call takes three numbers, and changes nothing but flags of descriptors.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if Errno::result(done).is_ok() {
        return Ok(());
    }
    // Linux before 5.11, and filters of system calls that do not know the call.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        if let Some(descriptor) = name.to_str().and_then(|name| name.parse().ok()).filter(|number| *number > 2) {
            // SAFETY: as above. The descriptor that the directory is read with is among them, and closed by then at worst.
            unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Has the kernel kill the child when the thread that starts it ends. That thread must live as long as the daemon.
#[allow(unsafe_code)]
pub fn die_with_parent(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl and getppid are, and nothing here
    // allocates.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have ended before the call of prctl(2) above.
            if nix::unistd::getppid() != parent {
                return Err(nix::errno::Errno::ESRCH.into());
            }
            Ok(())
        });
    }
}

/// Gives the child the dispositions and the mask that programs expect, and the limits and the umask the daemon was started with. A hangup
/// that nohup(1) has the daemon ignore is ignored by the child, too.
#[allow(unsafe_code)]
pub fn start_as_from_a_shell(command: &mut Command, limits: SoftLimits, mask: Mode) {
    // SAFETY: sigaction, sigprocmask, umask, getrlimit and setrlimit are system calls on values of the stack; nothing here
    // allocates, and no handler is installed.
    unsafe {
        command.pre_exec(move || {
            for caught in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
                let before = signal(caught, SigHandler::SigDfl)?;
                if caught == Signal::SIGHUP && matches!(before, SigHandler::SigIgn) {
                    signal(caught, SigHandler::SigIgn)?;
                }
            }
            SigSet::empty().thread_set_mask()?;
            umask(mask);
            limits.restore()
        });
    }
}
