//! One run of tailscaled, in a process group of its own.
//!
//! The group dies with the thread that started it.

pub(crate) mod ca_bundle;
mod confined_start;
pub(crate) mod environment;
pub(crate) mod locate;
pub(crate) mod locked_dir;
pub(crate) mod log_forwarder;
pub(crate) mod openness;
pub(crate) mod socket_path;
pub(crate) mod state_dir;

use std::io;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};
use thiserror::Error;
use tokio::process::{Child, Command};

use crate::environment::Environment;
use crate::memory::upload_throttle::UploadThrottle;
use crate::process::child::{OwnChildren, die_with_parent};
use crate::process::confinement::{Writable, measures_of};
use crate::process::lineage::descendants_of;
use crate::process::oom_score::OomScore;
use crate::secret::redactor::Redactor;
use crate::sync::IgnorePoison;
use crate::tailscaled::local_api::socket::LocalApiSocket;
use crate::tailscaled::process::confined_start::ConfinedStart;
use crate::tailscaled::process::log_forwarder::{LastLines, forward_lines};

/// How long tailscaled may take to end after SIGTERM.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Names of what confines tailscaled, such as `landlock`.
pub type Measures = Arc<Mutex<Vec<&'static str>>>;

/// How to start tailscaled, the same at every start.
pub struct Launch {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Environment,
    redactor: Redactor,
    children: OwnChildren,
    upload_throttle: UploadThrottle,
    /// `None` where tailscaled is not confined.
    confined: Option<ConfinedStart>,
    measures: Measures,
    /// Whether the user gave arguments.
    has_own_arguments: bool,
    expected_at: Option<LocalApiSocket>,
}

impl Launch {
    /// Starts `program` in userspace mode, with its state in `state` and its LocalAPI on `socket`.
    pub fn new(program: PathBuf, state: &Path, socket: &Path, environment: Environment, redactor: Redactor) -> Self {
        let mut arguments = vec![
            "--tun=userspace-networking".to_owned(),
            format!("--statedir={}", state.display()),
            format!("--socket={}", socket.display()),
        ];
        // Peers answer to the old UDP port for up to 5 s after a restart, so every run gets the same one.
        if let Some(port) = free_udp_port() {
            arguments.push(format!("--port={port}"));
        }
        Self {
            program,
            arguments,
            environment,
            redactor,
            children: OwnChildren::default(),
            upload_throttle: UploadThrottle::default(),
            confined: None,
            measures: Measures::default(),
            has_own_arguments: false,
            expected_at: None,
        }
    }

    /// Keeps tailscaled from uploading its logs to Tailscale.
    pub fn without_log_upload(mut self) -> Self {
        self.arguments.push("--no-logs-no-support".to_owned());
        self
    }

    /// Returns the path of the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Adds the user's own arguments, which come last, so that they win.
    pub fn with_arguments(mut self, more: &[String]) -> Self {
        self.arguments.extend_from_slice(more);
        self.has_own_arguments = !more.is_empty();
        self
    }

    /// Whether the user gave arguments.
    pub fn has_own_arguments(&self) -> bool {
        self.has_own_arguments
    }

    /// Confines tailscaled: it writes `writes` alone, reaches no other process, and is the first to go when memory is short.
    /// `inherits_filter` is whether this process has the filter of system calls already.
    pub fn confined_to(self, writes: Vec<Writable>, inherits_filter: bool, oom_score: OomScore) -> Self {
        Self { confined: Some(ConfinedStart { writes, inherits_filter, oom_score }), ..self }
    }

    /// Returns what confines tailscaled, once it runs; empty where nothing does. Clones share it.
    pub fn measures(&self) -> Measures {
        self.measures.clone()
    }

    /// Enters each run's process into `children`, which the reaper of orphans leaves alone.
    pub fn registered_in(self, children: OwnChildren) -> Self {
        Self { children, ..self }
    }

    /// Lets `upload_throttle` know of each run's process.
    pub fn throttled_by(self, upload_throttle: UploadThrottle) -> Self {
        Self { upload_throttle, ..self }
    }

    /// Has `socket` expect each run's process to be the one that listens.
    pub fn expected_at(self, socket: LocalApiSocket) -> Self {
        Self { expected_at: Some(socket), ..self }
    }

    /// Starts tailscaled. To be called on a thread that lives as long as the daemon: the kernel's parent-death signal
    /// fires when the thread that forked ends.
    ///
    /// # Errors
    /// When the program cannot be executed.
    pub fn start(&self) -> Result<Process, StartError> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        die_with_parent(&mut command);
        let failed = |source| StartError { program: self.program.clone(), source };
        let mut child = match &self.confined {
            Some(confined) => confined.spawn(command),
            None => command.spawn(),
        }
        .map_err(failed)?;
        let last_lines = LastLines::default();
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(forward_lines(stdout, self.redactor.clone(), last_lines.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(forward_lines(stderr, self.redactor.clone(), last_lines.clone()));
        }
        let pid = Pid::from_raw(child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0));
        self.children.add(pid);
        if let Some(socket) = &self.expected_at {
            socket.expect(pid);
        }
        self.upload_throttle.watch(pid.as_raw());
        if self.confined.is_some() {
            *self.measures.lock().ignore_poison() = measures_of(pid.as_raw());
        }
        tracing::debug!(pid = pid.as_raw(), program = %self.program.display(), "tailscaled started");
        Ok(Process {
            child,
            group: pid,
            last_lines,
            children: self.children.clone(),
            upload_throttle: self.upload_throttle.clone(),
        })
    }
}

/// Why tailscaled could not be started.
#[derive(Debug, Error)]
#[error("tailscaled {} cannot be started: {source}", .program.display())]
pub struct StartError {
    program: PathBuf,
    source: io::Error,
}

/// A running tailscaled. Dropped, it is killed with its whole group and all that descends from it.
pub struct Process {
    child: Child,
    group: Pid,
    pub last_lines: LastLines,
    children: OwnChildren,
    upload_throttle: UploadThrottle,
}

impl Process {
    /// Waits until tailscaled has ended.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.children.remove(self.group);
        self.upload_throttle.watch(0);
        status
    }

    /// Asks tailscaled to end, and kills it when it has not ended after 2 s.
    pub async fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        if tokio::time::timeout(END_TIMEOUT, self.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills tailscaled with its whole group and all that descends from it, and waits until it has ended.
    pub async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Err(error) = self.wait().await {
            tracing::warn!(%error, "waiting for tailscaled failed");
        }
    }

    fn signal(&self, signal: Signal) {
        // After wait(2) the process id may belong to another process.
        if self.child.id().is_some() {
            let descendants = descendants_of(self.group);
            let _ = killpg(self.group, signal);
            // A script may have started tailscaled in another session.
            for pid in descendants.into_iter().filter(|pid| getpgid(Some(*pid)).is_ok_and(|group| group != self.group))
            {
                let _ = kill(pid, signal);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Finds a UDP port that is free now.
fn free_udp_port() -> Option<u16> {
    let socket = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0")).ok()?;
    Some(socket.local_addr().ok()?.port())
}
