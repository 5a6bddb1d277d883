//! The tetherd binary under test, as a child process with all its output kept.
//!
//! It runs in the calling thread's namespace.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::admin::KeyOptions;
use crate::http::{self, Answer};
use crate::process::Process;
use crate::tailnet::Tailnet;
use crate::transcript::Transcript;
use crate::wait::wait_until;
use crate::{descendants, parts};

/// Where the daemon answers questions unless told otherwise.
pub const HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9002);
/// Where it proxies unless told otherwise.
pub const SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1055);
/// One answer of the health page.
const ANSWER: Duration = Duration::from_secs(10);
/// Between a process's end and the end of its pipes, or of what it had started.
const AFTERMATH: Duration = Duration::from_secs(5);

/// What to start; the environment is empty but for PATH (the real parts first) and TMPDIR (private).
pub struct Builder {
    binary: PathBuf,
    env: BTreeMap<String, String>,
    args: Vec<String>,
}

impl Builder {
    /// Lets it join `tailnet` with a new single-use key for an ephemeral node.
    pub fn joining(self, tailnet: &Tailnet, hostname: &str) -> Result<Self> {
        let key = tailnet.auth_key(KeyOptions { reusable: false, ephemeral: true })?;
        Ok(self
            .env("TETHERD_CONTROL_URL", &tailnet.control_url())
            .env("TETHERD_CA_FILE", &tailnet.ca_file().to_string_lossy())
            .env("TETHERD_AUTH_KEY", &key)
            .env("TETHERD_HOSTNAME", hostname))
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn env_remove(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Runs `program` instead, which is to start tetherd in its own way.
    pub fn program(mut self, program: &str) -> Self {
        self.binary = program.into();
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Puts `args` before those there are.
    pub fn args_first(mut self, args: &[&str]) -> Self {
        self.args.splice(0..0, args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// To be called in a thread that stays: the daemon dies with it.
    pub fn start(self) -> Result<Daemon> {
        let directory = tempfile::Builder::new().prefix("testbed-daemon-").tempdir()?;
        let mut command = Command::new(&self.binary);
        command
            .args(&self.args)
            .env_clear()
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", parts::directory()?.display()))
            .env("TMPDIR", directory.path())
            .envs(&self.env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut process = Process::spawn(&mut command)?;
        let transcript = Transcript::of(process.child())?;
        Ok(Daemon { process, transcript, directory, started })
    }
}

/// A started daemon; it and all it started are killed, and its files removed, when it is dropped.
pub struct Daemon {
    process: Process,
    transcript: Transcript,
    directory: TempDir,
    started: Instant,
}

impl Daemon {
    pub fn builder(binary: impl AsRef<Path>) -> Builder {
        Builder { binary: binary.as_ref().to_owned(), env: BTreeMap::new(), args: Vec::new() }
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// The child of the daemon that runs tailscaled, if it runs now.
    pub fn tailscaled_pid(&self) -> Option<i32> {
        let is_tailscaled = |entry: &descendants::Entry| entry.name == "tailscaled" && !entry.zombie;
        descendants::below(self.pid()).into_iter().find(is_tailscaled).map(|entry| entry.pid)
    }

    /// Its TMPDIR, for a look at what it leaves there.
    pub fn temp_dir(&self) -> &Path {
        self.directory.path()
    }

    /// One GET to the health page; an error when nobody answers.
    pub fn http_get(&self, path: &str) -> Result<Answer> {
        let stream = TcpStream::connect(HEALTH)?;
        stream.set_read_timeout(Some(ANSWER))?;
        http::get(stream, "localhost", path)
    }

    /// The labels of the metric that says where the daemon runs.
    pub fn place(&self) -> Result<String> {
        let metrics = self.http_get("/metrics")?.text();
        let place = metrics.lines().find_map(|line| line.strip_prefix("tetherd_place_info{"));
        Ok(place.context("no place in the metrics")?.to_owned())
    }

    /// The first line of a log in JSON.
    pub fn first_record(&self) -> Result<Value> {
        let log = self.stderr();
        let first = log.lines().next().context("no log")?;
        serde_json::from_str(first).with_context(|| format!("the log is not JSON: {first}"))
    }

    /// Status and JSON body of `/readyz`.
    pub fn readyz(&self) -> Result<(u16, Value)> {
        let answer = self.http_get("/readyz")?;
        let body = serde_json::from_slice(&answer.body)
            .with_context(|| format!("the body of /readyz is not JSON: {}", answer.text()))?;
        Ok((answer.head.status, body))
    }

    /// Returns the time from exec to ready; fails at once when the daemon ends instead.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<Duration> {
        let ready = wait_until("tetherd is ready or ends", timeout, || {
            if !matches!(self.process.exited(), Ok(None)) {
                return Some(None);
            }
            let is_ready = self.http_get("/readyz").is_ok_and(|answer| answer.head.status == 200);
            is_ready.then(|| Some(self.started.elapsed()))
        });
        match ready {
            Ok(Some(elapsed)) => Ok(elapsed),
            Ok(None) => {
                let status = self.wait_exit(AFTERMATH)?;
                bail!("tetherd ended with {status}; it wrote:\n{}", self.output())
            }
            Err(error) => bail!("{error}; it wrote:\n{}", self.output()),
        }
    }

    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.exited()?.is_some())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Waits for its end, and for the end of its output.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let Ok(status) = self.process.wait_exit(timeout) else {
            bail!("tetherd still runs after {timeout:?}; it wrote:\n{}", self.output());
        };
        self.transcript.complete(AFTERMATH).context("tetherd ended, but left a process that holds its output")?;
        Ok(status)
    }

    /// Both streams in the order of arrival.
    pub fn output(&self) -> String {
        self.transcript.all()
    }

    pub fn stdout(&self) -> String {
        self.transcript.stdout()
    }

    pub fn stderr(&self) -> String {
        self.transcript.stderr()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Looked up first: once the daemon is gone, its orphans belong to another parent.
        let orphans = descendants::below(self.pid());
        self.process.kill();
        for orphan in &orphans {
            // Not its group: one that a test put below the daemon is in the test's own group.
            let _ = kill(Pid::from_raw(orphan.pid), Signal::SIGKILL);
        }
        let gone = || orphans.iter().all(|orphan| !descendants::is_running(orphan.pid));
        let _ = wait_until("what tetherd started ends", AFTERMATH, || gone().then_some(()));
    }
}
