//! A child process that leaves nothing behind.
//!
//! It has its own process group, is killed and reaped on drop, and killed by the kernel when the thread that started it
//! ends. Start long-lived ones from a thread that stays.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, killpg, signal};
use nix::unistd::{Pid, getppid};

use crate::wait::wait_until;

/// A running (or ended, not yet dropped) child.
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command` in the calling thread's namespaces, as the leader of a process group of its own, so that
    /// Ctrl-C at a terminal reaches only the program that started it.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.process_group(0);
        prepare(command);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name })
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Signals the process alone, not its group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid()), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// The exit status if the process has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        wait_until(&what, timeout, || child.try_wait().transpose())?.context("cannot wait for a child")
    }

    /// SIGKILL for the whole group, and the body is taken away.
    pub fn kill(&mut self) {
        // Errors mean that it has ended already, which is what is wanted.
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[allow(unsafe_code)]
fn prepare(command: &mut Command) {
    let parent = std::process::id() as i32;
    let hook = move || {
        // A child would inherit the caller's blocked signals, and be deaf to SIGTERM.
        SigSet::empty().thread_set_mask()?;
        // And deaf to these where the tests run in the background or under nohup.
        for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: the default disposition is no handler.
            unsafe { signal(ignored, SigHandler::SigDfl)? };
        }
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the call above; then nobody would ever send the signal.
        if getppid() != Pid::from_raw(parent) {
            return Err(io::Error::from(Errno::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the hook makes six system calls and touches no lock, heap or shared memory.
    unsafe { command.pre_exec(hook) };
}
