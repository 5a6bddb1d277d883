//! The command of `exec`, as a child process of the daemon.
//!
//! It starts as if from a shell, gets the daemon's signals, and dies with the daemon.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getpgid, getpgrp};
use tokio::process::{Child, Command};

use crate::daemon::signals::{Caught, Listening};
use crate::exit_reason::ExitReason;
use crate::process::child::{OwnChildren, SoftLimits, die_with_parent, start_as_from_a_shell};
use crate::process::inherited::bears_secret;
use crate::secret::redactor::Redactor;

/// The command to run beside the daemon, and what it starts with.
pub struct CommandSpec {
    pub program: OsString,
    pub arguments: Vec<OsString>,
    /// The daemon's own environment, byte for byte.
    pub environment: Vec<(OsString, OsString)>,
    /// Hosts that programs on this platform reach without a proxy, in addition to those that are direct everywhere.
    pub direct: Vec<String>,
    /// Limits that the daemon was started with.
    pub limits: SoftLimits,
    /// The umask that the daemon was started with.
    pub umask: Mode,
}

impl CommandSpec {
    /// Returns the environment without the variables that bear secrets.
    fn inherited(&self, redactor: &Redactor) -> Vec<(OsString, OsString)> {
        let (withheld, kept): (Vec<_>, Vec<_>) = self
            .environment
            .iter()
            .cloned()
            .partition(|(name, value)| bears_secret(&name.to_string_lossy(), &value.to_string_lossy(), redactor));
        if !withheld.is_empty() {
            let names: Vec<_> = withheld.iter().map(|(name, _)| name.to_string_lossy()).collect();
            tracing::info!(names = names.join(" "), "variables that bear secrets are kept from the command");
        }
        kept
    }
}

/// The running command.
pub struct ExecCommand {
    child: Child,
    pid: Pid,
    children: OwnChildren,
}

impl ExecCommand {
    /// Starts the command, with `more` variables. To be called on a thread that stays: the command dies with it.
    pub fn start(
        spec: &CommandSpec,
        more: Vec<(String, String)>,
        redactor: &Redactor,
        children: OwnChildren,
    ) -> Result<Self, ExitReason> {
        let mut command = Command::new(&spec.program);
        command.args(&spec.arguments).env_clear().envs(spec.inherited(redactor)).envs(more).kill_on_drop(true);
        if !has_terminal() {
            // In a group of its own the command does not get a signal twice that is sent to the daemon's whole group.
            // With a terminal both share one group, so that keys reach both and a shell can stop and continue both.
            command.process_group(0);
        }
        die_with_parent(&mut command);
        start_as_from_a_shell(&mut command, spec.limits, spec.umask);
        let child = command.spawn().map_err(|error| not_started(spec, &error))?;
        let pid = Pid::from_raw(child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0));
        children.add(pid);
        tracing::info!(pid = pid.as_raw(), program = %spec.program.display(), "the command runs");
        Ok(Self { child, pid, children })
    }

    /// Waits for the end of the command.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.children.remove(self.pid);
        status
    }

    /// Passes a signal on to the command, unless the command has got it from the terminal already.
    pub fn pass_on(&self, caught: Caught) {
        let shared = getpgid(Some(self.pid)) == Ok(getpgrp());
        // A hangup (SIGHUP) may come to the leader of the session alone, so it is always passed on.
        if caught.by_kernel && shared && caught.signal != Signal::SIGHUP {
            tracing::debug!(signal = caught.signal.as_str(), "the terminal has told the command");
        } else {
            tracing::debug!(signal = caught.signal.as_str(), "passed on to the command");
            self.signal(caught.signal);
        }
    }

    /// Asks the command to end, and kills it when it has not after `limit`. Signals are passed on meanwhile.
    pub async fn end(&mut self, limit: Duration, signals: &mut Listening) {
        self.signal(Signal::SIGTERM);
        let over = tokio::time::sleep(limit);
        tokio::pin!(over);
        loop {
            tokio::select! {
                _ = self.wait() => return,
                caught = signals.next() => self.pass_on(caught),
                () = &mut over => break,
            }
        }
        tracing::warn!("drain_timeout is over; the command is killed");
        self.kill();
        let _ = self.wait().await;
    }

    /// Kills the command, and with it what it started, where that is a group of its own.
    fn kill(&self) {
        self.signal(Signal::SIGKILL);
        if getpgid(Some(self.pid)) == Ok(self.pid) {
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
    }

    fn signal(&self, signal: Signal) {
        // After wait(2) the process id may belong to another process.
        if self.child.id().is_some() {
            let _ = kill(self.pid, signal);
        }
    }
}

/// Whether the daemon has a controlling terminal, whatever its stdin is.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Tells a command that was not found from one that cannot be run, as env(1) does.
fn not_started(spec: &CommandSpec, error: &io::Error) -> ExitReason {
    let program = spec.program.display();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => ExitReason::CommandNotFound(format!(
            "the command {program} was not found; give its path, or put its directory on PATH"
        )),
        _ => ExitReason::CommandNotExecutable(format!(
            "the command {program} cannot be run: {error}; it must be an executable file for this machine"
        )),
    }
}
