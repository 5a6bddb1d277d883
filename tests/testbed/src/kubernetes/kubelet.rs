//! The kubelet: its manifests, the status of its pods, the output of containers.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::containerd::Containerd;
use super::kernel::{ControlGroup, Settings, unmount_below};
use super::line::Line;
use crate::docker::Engine;
use crate::http::{self, Answer};
use crate::parts;
use crate::process::Process;
use crate::wait::wait_until;

/// Measured 2 s on two idle cores; the rest is for busy ones.
const START: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(10);
/// Ports of the namespace, which is the test's own.
const PORT: u16 = 10250;
const HEALTH: u16 = 10248;
/// Answers questions without asking who is there.
const QUESTIONS: u16 = 10255;
/// Static pods are called after the node; probes go to its address.
const NODE: &str = "127.0.0.1";

/// A running kubelet; its pods, its runtime and all it changed on the machine go when it is dropped.
pub struct Kubelet {
    // Fields drop in order.
    process: Process,
    containerd: Containerd,
    _groups: ControlGroup,
    directory: TempDir,
    _settings: Settings,
}

impl Kubelet {
    /// With these images of `engine`. To be called in a thread that has entered a namespace and stays. Waits until no
    /// other test of this machine has one.
    pub fn start(engine: &Engine, images: &[&str]) -> Result<Self> {
        let settings = Settings::take()?;
        // A short path: sockets lie below it.
        let directory = tempfile::Builder::new().prefix("tb-kubelet-").tempdir()?;
        let place = |name: &str| directory.path().join(name);
        for name in ["manifests", "new", "logs", "root"] {
            fs::create_dir(place(name))?;
        }
        let groups = ControlGroup::new()?;
        let containerd = Containerd::start(&place("containerd"), engine, images)?;
        let config = configuration(directory.path(), &containerd.socket(), groups.name());
        fs::write(place("config.json"), config.to_string())?;
        let process = spawn(directory.path())?;
        let mut kubelet = Self { process, containerd, _groups: groups, directory, _settings: settings };
        let answers = wait_until("the kubelet answers", START, || {
            let ended = !matches!(kubelet.process.exited(), Ok(None));
            (ended || kubelet.pods().is_ok()).then_some(ended)
        });
        let ended = answers.with_context(|| kubelet.log())?;
        ensure!(!ended, "the kubelet ended; its log:\n{}", kubelet.log());
        Ok(kubelet)
    }

    /// Runs the pod of this manifest; another one of the same name is replaced.
    pub fn apply(&self, name: &str, manifest: &str) -> Result<()> {
        // The kubelet must not read half of it.
        let new = self.directory.path().join("new").join(name);
        fs::write(&new, manifest)?;
        fs::rename(new, self.manifest(name)).context("cannot move the manifest")
    }

    /// The pod is to go; returns at once. From then on [`Kubelet::pod`] does not know it, whether or not it has ended.
    pub fn delete(&self, name: &str) -> Result<()> {
        fs::remove_file(self.manifest(name)).context("cannot remove the manifest")
    }

    /// A pod as the kubelet sees it, while it knows it.
    pub fn pod(&self, name: &str) -> Result<Option<Value>> {
        let name = format!("{name}-{NODE}");
        Ok(self.pods()?.into_iter().find(|pod| pod["metadata"]["name"] == name.as_str()))
    }

    /// Waits for the end of all containers of a pod; returns what the one called `container` wrote.
    pub fn wait_ended(&self, name: &str, container: &str, timeout: Duration) -> Result<Vec<Line>> {
        let full = format!("{name}-{NODE}");
        let mut lines = Vec::new();
        let ended = wait_until("the pod's containers have ended", timeout, || {
            let left = self.containerd.running(&full).ok()?;
            // The kubelet removes logs some time after the end.
            let now = self.log_lines(name, container);
            if !now.is_empty() {
                lines = now;
            }
            left.is_empty().then_some(())
        });
        ended.with_context(|| format!("{}\n{}", self.logs(name), self.log()))?;
        Ok(lines)
    }

    /// Waits for something about a pod; what it wrote is in the error.
    pub fn wait_pod<T>(
        &self,
        what: &str,
        name: &str,
        timeout: Duration,
        mut condition: impl FnMut(Option<&Value>) -> Option<T>,
    ) -> Result<T> {
        let waited = wait_until(what, timeout, || condition(self.pod(name).ok()?.as_ref()));
        waited.with_context(|| format!("pod {:?}\n{}\n{}", self.pod(name), self.logs(name), self.log()))
    }

    /// What the pod's containers have written, each line with its time and stream.
    pub fn logs(&self, name: &str) -> String {
        let mut text = String::new();
        for file in self.log_files(name) {
            text += &format!("{}:\n{}", file.display(), fs::read_to_string(&file).unwrap_or_default());
        }
        text
    }

    /// The lines of one of the pod's containers, in the order of its runs.
    pub fn log_lines(&self, name: &str, container: &str) -> Vec<Line> {
        let file = |path: &Path| path.parent().is_some_and(|parent| parent.ends_with(container));
        let files = self.log_files(name).into_iter().filter(|path| file(path));
        let text: String = files.filter_map(|path| fs::read_to_string(path).ok()).collect();
        text.lines().filter_map(Line::parse).collect()
    }

    /// The first process of the running container of this name.
    pub fn pid(&self, container: &str) -> Result<i32> {
        let pods = self.pods()?;
        let lists =
            pods.iter().flat_map(|pod| ["initContainerStatuses", "containerStatuses"].map(|list| &pod["status"][list]));
        let mut all = lists.filter_map(Value::as_array).flatten();
        let status = all.find(|status| status["name"] == container).context("no such container")?;
        let id = status["containerID"].as_str().and_then(|id| id.strip_prefix("containerd://"));
        self.containerd.pid(id.context("it does not run")?)
    }

    /// The kubelet's own metrics: `probes` are those of `/metrics/probes`.
    pub fn metrics(&self, kind: &str) -> Result<String> {
        Ok(ask(&format!("/metrics/{kind}"))?.text())
    }

    fn log_files(&self, name: &str) -> Vec<PathBuf> {
        let pod = format!("_{name}-{NODE}_");
        let files = files_below(&self.directory.path().join("logs"));
        files.into_iter().filter(|file| file.to_string_lossy().contains(&pod)).collect()
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.directory.path().join("manifests").join(name)
    }

    fn pods(&self) -> Result<Vec<Value>> {
        let Value::Object(mut list) = serde_json::from_slice(&ask("/pods")?.body)? else { bail!("no list") };
        Ok(match list.remove("items") {
            Some(Value::Array(pods)) => pods,
            // Go prints an empty list as null.
            _ => Vec::new(),
        })
    }

    fn log(&self) -> String {
        let kubelet = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        format!("the kubelet's log:\n{kubelet}\ncontainerd's log:\n{}", self.containerd.log())
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        // Its containers are its runtime's, which ends them.
        let _ = self.process.signal(Signal::SIGTERM);
        let _ = self.process.wait_exit(END);
        unmount_below(&self.directory.path().join("root"));
    }
}

fn ask(path: &str) -> Result<Answer> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, QUESTIONS)))?;
    stream.set_read_timeout(Some(ANSWER))?;
    http::get(stream, NODE, path)
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> =
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect();
    files.sort();
    files
}

fn spawn(directory: &Path) -> Result<Process> {
    let log = File::create(directory.join("log"))?;
    let mut command = Command::new(parts::find("kubelet").context("run `make kubelet`")?);
    command
        .arg(format!("--config={}", directory.join("config.json").display()))
        .arg(format!("--root-dir={}", directory.join("root").display()))
        .arg(format!("--cert-dir={}", directory.join("certificates").display()))
        .arg(format!("--hostname-override={NODE}"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Process::spawn(&mut command)
}

/// A node of its own, without a cluster: it registers nowhere, and leaves the machine's network as it is.
fn configuration(directory: &Path, runtime: &Path, group: &str) -> Value {
    let runtime = format!("unix://{}", runtime.display());
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "port": PORT,
        "healthzBindAddress": NODE,
        "healthzPort": HEALTH,
        "readOnlyPort": QUESTIONS,
        "registerNode": false,
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "containerRuntimeEndpoint": runtime,
        "imageServiceEndpoint": runtime,
        "staticPodPath": directory.join("manifests"),
        "podLogsDir": directory.join("logs"),
        "volumePluginDir": directory.join("plugins"),
        // Else it looks at its manifests every 20 s, where the kernel does not tell of changes.
        "fileCheckFrequency": "1s",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{group}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": ["none"],
        "makeIPTablesUtilChains": false,
        "resolvConf": "",
        // A full disk of a developer's machine is no reason to throw the pods out.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": { "memory.available": "0%", "nodefs.available": "0%", "imagefs.available": "0%" },
    })
}
