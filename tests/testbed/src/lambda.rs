//! One execution environment of AWS Lambda: the runtime interface emulator.
//!
//! It has mount and process namespaces of its own, with a layer at /opt, a function at /var/task, a writable /tmp and a
//! hosts file. It shares the caller's network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use crate::admin::KeyOptions;
use crate::descendants::{self, Entry};
use crate::process::Process;
use crate::tailnet::Tailnet;
use crate::transcript::Transcript;
use crate::wait::wait_until;
use crate::{http, parts};

const EMULATOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Its Runtime API. It listens for invocations a little earlier, and a function that is quicker than this gives up.
const RUNTIME_API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9001);
const INVOKE: &str = "/2015-03-31/functions/function/invocations";
/// Longer than Lambda lets an init take.
const ANSWER: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(20);
const AFTERMATH: Duration = Duration::from_secs(10);

/// /tmp comes last: what is mounted comes from there.
const SETUP: &str = r#"
mount --bind "$HOSTS" /etc/hosts && mount --bind "$LAYER" /opt && mount -t tmpfs none /var && mkdir /var/task && cp "$TASK"/* /var/task/ && cp "$RIE" /var/rie &&
mount -t tmpfs none /tmp && cd /var/task && unset HOSTS LAYER TASK RIE && exec /var/rie --log-level info /var/task/bootstrap handler
"#;

/// What to start.
pub struct Builder {
    layer: TempDir,
    task: TempDir,
    hosts: String,
    env: BTreeMap<String, String>,
}

impl Builder {
    /// A function that is one program, as those of the OS-only runtimes are. No layer yet.
    pub fn program(bootstrap: &Path) -> Result<Self> {
        let directory = || tempfile::Builder::new().prefix("testbed-lambda-").tempdir();
        let (layer, task) = (directory()?, directory()?);
        let copied = fs::copy(bootstrap, task.path().join("bootstrap"));
        copied.with_context(|| format!("{} cannot be copied", bootstrap.display()))?;
        let hosts = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
        let builder = Self { layer, task, hosts, env: BTreeMap::new() };
        Ok(builder
            .env("PATH", &format!("{}:/opt/bin", std::env::var("PATH").unwrap_or_default()))
            .env("LAMBDA_TASK_ROOT", "/var/task")
            .env("AWS_LAMBDA_FUNCTION_NAME", "my_function"))
    }

    /// A function of one file, which `runtime` (a path, or a program on PATH) runs; `bootstrap` starts the two.
    pub fn new(runtime: &str, function: &Path, bootstrap: &Path) -> Result<Self> {
        let name = function.file_name().context("the function has no name")?.to_string_lossy().into_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|place| place.join(runtime)).find(|program| program.is_file());
        let program = found.with_context(|| format!("{runtime} is not there, or not on PATH"))?;
        let builder = Self::program(bootstrap)?.file(function)?;
        Ok(builder.env("RUNTIME", &program.to_string_lossy()).env("FUNCTION", &name))
    }

    /// Puts one more file beside the function.
    pub fn file(self, path: &Path) -> Result<Self> {
        let name = path.file_name().context("the file has no name")?;
        fs::copy(path, self.task.path().join(name)).with_context(|| format!("{} cannot be copied", path.display()))?;
        Ok(self)
    }

    /// Has `name` resolve to the loopback.
    pub fn host(mut self, name: &str) -> Self {
        self.hosts += &format!("127.0.0.1 {name}\n");
        self
    }

    /// Puts tetherd and tailscaled where the layer has them.
    pub fn extension(self, tetherd: &Path, tailscaled: &Path) -> Result<Self> {
        let layer = self.layer.path();
        fs::create_dir_all(layer.join("bin"))?;
        fs::create_dir_all(layer.join("extensions"))?;
        fs::copy(tetherd, layer.join("extensions/tetherd"))?;
        fs::copy(tailscaled, layer.join("bin/tailscaled"))?;
        symlink("../extensions/tetherd", layer.join("bin/tetherd"))?;
        Ok(self.env("AWS_LAMBDA_EXEC_WRAPPER", "/opt/bin/tetherd"))
    }

    /// Takes the layer that stands in `directory`.
    pub fn layer_of(self, directory: &Path) -> Result<Self> {
        let copied = Command::new("cp").arg("-a").arg(directory.join(".")).arg(self.layer.path()).status()?;
        ensure!(copied.success(), "the layer cannot be copied");
        Ok(self.env("AWS_LAMBDA_EXEC_WRAPPER", "/opt/bin/tetherd"))
    }

    /// A new single-use key for an ephemeral node, and the control server's authority as the layer's own.
    pub fn joining(self, tailnet: &Tailnet) -> Result<Self> {
        let key = tailnet.auth_key(KeyOptions { reusable: false, ephemeral: true })?;
        fs::create_dir_all(self.layer.path().join("ssl"))?;
        fs::copy(tailnet.ca_file(), self.layer.path().join("ssl/control.pem"))?;
        Ok(self.env("TETHERD_CONTROL_URL", &tailnet.control_url()).env("TETHERD_AUTH_KEY", &key))
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn env_remove(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// The layer's directory, to change what is in it.
    pub fn layer(&self) -> &Path {
        self.layer.path()
    }

    /// Returns when the emulator listens, with both of its APIs; extensions and function start with the first
    /// invocation.
    pub fn start(self) -> Result<Environment> {
        let mut hosts = NamedTempFile::new()?;
        hosts.write_all(self.hosts.as_bytes())?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SETUP])
            .env_clear()
            .envs(&self.env)
            .env("HOSTS", hosts.path())
            .env("LAYER", self.layer.path())
            .env("TASK", self.task.path())
            .env("RIE", parts::find("aws-lambda-rie")?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command)?;
        let transcript = Transcript::of(process.child())?;
        let mut environment = Environment { process, transcript, _places: ([self.layer, self.task], hosts) };
        let ended = wait_until("the emulator listens", START, || {
            let ended = !matches!(environment.process.exited(), Ok(None));
            let listens = || [EMULATOR, RUNTIME_API].iter().all(|address| TcpStream::connect(address).is_ok());
            (ended || listens()).then_some(ended)
        })?;
        ensure!(!ended, "the emulator ended; it wrote:\n{}", environment.log());
        Ok(environment)
    }
}

/// A running execution environment; all of it ends when it is dropped.
pub struct Environment {
    process: Process,
    transcript: Transcript,
    _places: ([TempDir; 2], NamedTempFile),
}

impl Environment {
    /// Invokes the function. The first time, that starts extensions and function.
    pub fn invoke(&self, event: &Value) -> Result<Value> {
        let stream = TcpStream::connect(EMULATOR)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let answer = http::request(stream, "POST", "localhost", INVOKE, event.to_string().as_bytes())?;
        let text = answer.text();
        let value = serde_json::from_str(&text);
        value
            .with_context(|| format!("the emulator answered {} {text:?}; the log:\n{}", answer.head.status, self.log()))
    }

    /// The same, with the time it took.
    pub fn timed(&self, event: &Value) -> Result<(Value, Duration)> {
        let started = Instant::now();
        Ok((self.invoke(event)?, started.elapsed()))
    }

    /// What everything in it wrote so far.
    pub fn log(&self) -> String {
        self.transcript.all()
    }

    pub fn wait_for_log(&self, text: &str) -> Result<()> {
        let waited = wait_until(text, AFTERMATH, || self.log().contains(text).then_some(()));
        waited.with_context(|| format!("the log:\n{}", self.log()))
    }

    /// Its processes, the emulator among them.
    pub fn processes(&self) -> Vec<Entry> {
        descendants::below(self.process.pid()).into_iter().filter(|entry| !entry.zombie).collect()
    }

    /// The process of this name, if it runs.
    pub fn pid_of(&self, name: &str) -> Option<i32> {
        self.processes().into_iter().find(|entry| entry.name == name).map(|entry| entry.pid)
    }

    /// Stops every process, as Lambda does between invocations.
    pub fn freeze(&self) -> Result<()> {
        self.signal_all(Signal::SIGSTOP)
    }

    pub fn thaw(&self) -> Result<()> {
        self.signal_all(Signal::SIGCONT)
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        for entry in self.processes() {
            kill(Pid::from_raw(entry.pid), signal).with_context(|| format!("cannot signal {}", entry.name))?;
        }
        Ok(())
    }

    /// Has the emulator shut the environment down, and returns the time until the extension is gone.
    pub fn shut_down(&self) -> Result<Duration> {
        let (Some(emulator), Some(extension)) = (self.pid_of("rie"), self.pid_of("tetherd")) else {
            bail!("emulator or extension do not run; the log:\n{}", self.log());
        };
        let told = Instant::now();
        kill(Pid::from_raw(emulator), Signal::SIGTERM)?;
        wait_until("the extension ends", AFTERMATH, || (!descendants::is_running(extension)).then_some(()))
            .with_context(|| format!("the log:\n{}", self.log()))?;
        Ok(told.elapsed())
    }

    /// Waits until nothing of it runs any more.
    pub fn wait_gone(&self) -> Result<()> {
        let gone = wait_until("all of the environment ends", AFTERMATH, || self.processes().is_empty().then_some(()));
        gone.with_context(|| format!("{:?} still run", self.processes()))
    }
}
