//! A Docker engine of the test's own.
//!
//! Its data is in a temporary directory, it has no bridge, and it is inside the calling thread's network namespace.
//! Containers with `--network host` are in that namespace, too.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::wait::wait_until;

/// Measured 0.5 s on two idle cores; the rest is for busy ones.
const START: Duration = Duration::from_secs(60);
/// It stops containers first.
const END: Duration = Duration::from_secs(30);
/// Debian's engine and its parts are in directories that not every user has on PATH.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A running engine; its containers, images and itself go when it is dropped.
pub struct Engine {
    dockerd: Process,
    directory: TempDir,
}

impl Engine {
    /// To be called in a thread that has entered a namespace and stays.
    pub fn start() -> Result<Self> {
        // A short path: sockets lie below it.
        let directory = tempfile::Builder::new().prefix("tb-docker-").tempdir()?;
        let log = File::create(directory.path().join("log"))?;
        let place = |name: &str| directory.path().join(name).display().to_string();
        let mut command = Command::new("/usr/sbin/dockerd");
        command
            .arg(format!("--host=unix://{}", place("sock")))
            .arg(format!("--data-root={}", place("data")))
            .arg(format!("--exec-root={}", place("exec")))
            .arg(format!("--pidfile={}", place("pid")))
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"])
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let dockerd = Process::spawn(&mut command).context("Docker is missing: apt-get install docker.io")?;
        let mut engine = Self { dockerd, directory };
        let answers = wait_until("dockerd answers", START, || {
            let ended = !matches!(engine.dockerd.exited(), Ok(None));
            (ended || engine.docker(&["version"]).is_ok()).then_some(ended)
        });
        let ended = answers.with_context(|| engine.log())?;
        ensure!(!ended, "dockerd ended; its log:\n{}", engine.log());
        Ok(engine)
    }

    /// A command that speaks with this engine and knows nothing of the user's own settings.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", self.directory.path())
            .env("DOCKER_HOST", format!("unix://{}", self.directory.path().join("sock").display()))
            // Images that are built here need no other builder, and none can be had without a registry.
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::null());
        command
    }

    /// `docker` with these arguments; what it prints, without the line's end.
    pub fn docker(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command("docker").args(arguments).output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "docker {arguments:?}: {errors}");
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// `docker inspect` of a container or an image.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let text = self.docker(&["inspect", name])?;
        let found: Value = serde_json::from_str(&text).context("not JSON")?;
        Ok(found[0].clone())
    }

    /// What a container has written to both streams.
    pub fn logs(&self, name: &str) -> String {
        let output = self.command("docker").args(["logs", name]).output();
        output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// Fails as soon as the container has ended.
    pub fn wait_healthy(&self, name: &str, timeout: Duration) -> Result<()> {
        let waited = wait_until("the container is healthy or ends", timeout, || {
            let state = self.inspect(name).ok()?["State"].clone();
            let healthy = state["Health"]["Status"] == "healthy";
            (healthy || state["Running"] == false).then_some(healthy)
        });
        let healthy = waited.with_context(|| format!("it wrote:\n{}", self.logs(name)))?;
        ensure!(healthy, "the container ended; it wrote:\n{}", self.logs(name));
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(containers) = self.docker(&["ps", "--all", "--quiet"]) {
            for container in containers.lines() {
                let _ = self.docker(&["rm", "--force", "--volumes", container]);
            }
        }
        // Asked, it ends its containerd and gives back its mounts; killed it does not.
        let _ = self.dockerd.signal(Signal::SIGTERM);
        let _ = self.dockerd.wait_exit(END);
        // The namespace that it shares with containers of the host's network: a mount of its own, which it leaves.
        let _ = Command::new("umount").arg(self.directory.path().join("exec/netns/default")).output();
    }
}
