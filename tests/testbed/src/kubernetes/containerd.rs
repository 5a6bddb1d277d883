//! containerd with its CRI, as the kubelet's container runtime.
//!
//! It has a socket, data and images of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::kernel::unmount_below;
use crate::docker::Engine;
use crate::image::BUSYBOX;
use crate::process::Process;
use crate::wait::wait_until;

/// Measured 0.3 s on two idle cores; the rest is for busy ones.
const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(10);
/// Ends at once: killed containers.
const KILLED: Duration = Duration::from_secs(10);
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the CRI keeps what is Kubernetes'.
const NAMESPACE: &str = "k8s.io";
/// The container that holds a pod together. Anything that stays will do.
const PAUSE: &str = "tetherd.test/pause:1";

pub(super) struct Containerd {
    process: Process,
    directory: PathBuf,
}

impl Containerd {
    /// Below `directory`, with `images` of `engine`.
    pub(super) fn start(directory: &Path, engine: &Engine, images: &[&str]) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let config = directory.join("config.toml");
        fs::write(&config, configuration(directory))?;
        let log = File::create(directory.join("log"))?;
        let mut command = Command::new("/usr/bin/containerd");
        command.arg("--config").arg(&config).env_clear().env("PATH", PATH);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = Process::spawn(&mut command).context("containerd is missing: apt-get install containerd")?;
        let mut containerd = Self { process, directory: directory.to_owned() };
        let answers = wait_until("containerd answers", START, || {
            let ended = !matches!(containerd.process.exited(), Ok(None));
            (ended || containerd.ctr(&["version"]).is_ok()).then_some(ended)
        });
        let ended = answers.with_context(|| containerd.log())?;
        ensure!(!ended, "containerd ended; its log:\n{}", containerd.log());
        containerd.import(engine, images)?;
        Ok(containerd)
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("sock")
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The first process of a running container.
    pub(super) fn pid(&self, container: &str) -> Result<i32> {
        let tasks = self.ctr(&["tasks", "ls"])?;
        let line = tasks.lines().find(|line| line.starts_with(container)).context("it does not run")?;
        line.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).context("no process id")
    }

    /// The running containers of a pod, the one that holds it together among them.
    pub(super) fn running(&self, pod: &str) -> Result<Vec<String>> {
        let label = format!("labels.\"io.kubernetes.pod.name\"=={pod}");
        let (containers, tasks) = (self.ctr(&["containers", "ls", "--quiet", &label])?, self.ctr(&["tasks", "ls"])?);
        let runs = |id: &&str| tasks.lines().any(|task| task.starts_with(id) && task.ends_with("RUNNING"));
        Ok(containers.lines().filter(runs).map(str::to_owned).collect())
    }

    fn import(&self, engine: &Engine, images: &[&str]) -> Result<()> {
        let pause = self.directory.join("pause");
        fs::create_dir_all(&pause)?;
        fs::write(pause.join("Dockerfile"), format!("FROM {BUSYBOX}\nENTRYPOINT [\"/bin/sleep\", \"1000000000\"]\n"))?;
        engine.docker(&["build", "--tag", PAUSE, "--network=none", &pause.display().to_string()])?;
        let archive = self.directory.join("images.tar").display().to_string();
        engine.docker(&[&["save", "--output", &archive, PAUSE], images].concat())?;
        self.ctr(&["images", "import", &archive])?;
        fs::remove_file(archive).context("cannot remove the archive")
    }

    fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("/usr/bin/ctr")
            .arg("--address")
            .arg(self.socket())
            .args(["--namespace", NAMESPACE])
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .output()?;
        ensure!(output.status.success(), "ctr {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn kill_all(&self) {
        let tasks = || self.ctr(&["tasks", "ls", "--quiet"]).unwrap_or_default();
        let _ = wait_until("all containers have ended", KILLED, || {
            let left = tasks();
            for task in left.lines() {
                let _ = self.ctr(&["tasks", "kill", "--all", "--signal", "SIGKILL", task]);
                // Ends the process that looks after it, too.
                let _ = self.ctr(&["tasks", "delete", "--force", task]);
            }
            left.is_empty().then_some(())
        });
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.kill_all();
        let _ = self.process.signal(Signal::SIGTERM);
        let _ = self.process.wait_exit(END);
        unmount_below(&self.directory);
    }
}

/// `restrict_oom_score_adj`: in a container a test may not lower the score of its processes.
fn configuration(directory: &Path) -> String {
    let place = |name: &str| directory.join(name).display().to_string();
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{cni}"
[plugins."io.containerd.internal.v1.opt"]
path = "{opt}"
"#,
        root = place("root"),
        state = place("state"),
        socket = place("sock"),
        cni = place("cni"),
        opt = place("opt"),
    )
}
