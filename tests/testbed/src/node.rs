//! A second node of the tailnet: tailscaled, joined over its LocalAPI alone.
//!
//! It is in userspace mode unless it is told to have a network interface. What arrives for it over the tailnet goes to
//! 127.0.0.1:PORT of the namespace, so a [`crate::server::Server`] there is reachable as NAME:PORT; with an interface,
//! to its own addresses.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin::KeyOptions;
use crate::http::{self, Answer};
use crate::parts;
use crate::process::Process;
use crate::tailnet::Tailnet;
use crate::wait::wait_until;

/// Measured 0.2 s on two idle cores; the rest is for busy ones.
const JOIN: Duration = Duration::from_secs(20);
/// Measured 2 ms; tailscaled itself waits two minutes for a target that does not answer.
const DIAL: Duration = Duration::from_secs(10);
/// `State` on the bus: Running.
const RUNNING: u64 = 6;
/// Initial state, and no netmaps.
const BUS: &str = "/localapi/v0/watch-ipn-bus?mask=8194";
const HOST: &str = "local-tailscaled.sock";

/// What may differ between nodes.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    pub key: KeyOptions,
    /// More arguments for tailscaled.
    pub args: Vec<String>,
    /// More environment for tailscaled, such as GOMEMLIMIT.
    pub env: Vec<(String, String)>,
    /// A network interface of this name, where the kernel ends connections as it does without a tailnet. Needs
    /// /dev/net/tun.
    pub interface: Option<String>,
}

/// Where a node joins.
pub struct ControlServer {
    pub url: String,
    /// The authority that signed its certificate, PEM; none where it speaks plain HTTP.
    pub ca_file: Option<PathBuf>,
}

/// A joined node; tailscaled and its files go when it is dropped.
pub struct Node {
    // Before the directory: fields drop in order.
    tailscaled: Process,
    directory: TempDir,
    addresses: (Ipv4Addr, Ipv6Addr),
    join_time: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notice {
    state: Option<u64>,
    err_message: Option<String>,
}

impl Node {
    pub fn join(tailnet: &Tailnet, hostname: &str) -> Result<Self> {
        Self::join_with(tailnet, hostname, NodeOptions::default())
    }

    pub fn join_with(tailnet: &Tailnet, hostname: &str, options: NodeOptions) -> Result<Self> {
        let key = tailnet.auth_key(options.key)?;
        Self::join_with_key(tailnet, hostname, &key, options)
    }

    /// With a key made elsewhere; `options.key` is not used.
    pub fn join_with_key(tailnet: &Tailnet, hostname: &str, key: &str, options: NodeOptions) -> Result<Self> {
        Self::join_as(tailnet, hostname, (key, &parts::find("tailscaled")?), options)
    }

    /// By a program that becomes tailscaled.
    pub fn join_program(tailnet: &Tailnet, hostname: &str, program: &Path, options: NodeOptions) -> Result<Self> {
        let key = tailnet.auth_key(options.key)?;
        Self::join_as(tailnet, hostname, (&key, program), options)
    }

    fn join_as(tailnet: &Tailnet, hostname: &str, (key, program): (&str, &Path), options: NodeOptions) -> Result<Self> {
        let control = ControlServer { url: tailnet.control_url(), ca_file: Some(tailnet.ca_file()) };
        Self::join_at(&control, hostname, (key, program), options)
    }

    /// At a control server that need not be a [`Tailnet`]'s, with a key and by a program.
    pub fn join_at(
        control: &ControlServer,
        hostname: &str,
        (key, program): (&str, &Path),
        options: NodeOptions,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("testbed-node-").tempdir()?;
        let start = Instant::now();
        let mut node = Self {
            tailscaled: spawn(control, &directory, program, &options)?,
            directory,
            addresses: (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
            join_time: Duration::ZERO,
        };
        let joined = node.log_in(control, hostname, key, options.interface.is_none());
        joined.with_context(|| format!("node {hostname} did not join; its log:\n{}", node.log()))?;
        node.join_time = start.elapsed();
        node.addresses = node.ask_addresses()?;
        Ok(node)
    }

    pub fn addresses(&self) -> (Ipv4Addr, Ipv6Addr) {
        self.addresses
    }

    /// From exec to state Running.
    pub fn join_time(&self) -> Duration {
        self.join_time
    }

    pub fn pid(&self) -> i32 {
        self.tailscaled.pid()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.tailscaled.signal(signal)
    }

    pub fn kill(&mut self) {
        self.tailscaled.kill();
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// What tailscaled wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A question to the LocalAPI; `path` is whole, as in `/localapi/v0/status`.
    pub fn local_api(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let answer = self.request(method, path, body)?;
        Ok((answer.head.status, answer.text()))
    }

    /// What the command `tailscale` of this node prints; an error where it fails.
    pub fn tailscale(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(parts::find("tailscale")?);
        command.env_clear().arg("--socket").arg(self.socket()).args(arguments).stdin(Stdio::null());
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let problem = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tailscale {arguments:?}: {text}{problem}");
        Ok(text)
    }

    /// A TCP stream through the tailnet; `host` may be a MagicDNS name. An error when there is no answer in time.
    pub fn dial(&self, host: &str, port: u16) -> Result<UnixStream> {
        self.dial_by("tcp", host, port)
    }

    /// As [`Node::dial`], for datagrams: each write is one.
    pub fn dial_udp(&self, host: &str, port: u16) -> Result<UnixStream> {
        self.dial_by("udp", host, port)
    }

    fn dial_by(&self, network: &str, host: &str, port: u16) -> Result<UnixStream> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(DIAL))?;
        let request = format!(
            "POST /localapi/v0/dial HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: ts-dial\r\n\
             Dial-Host: {host}\r\nDial-Port: {port}\r\nDial-Network: {network}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let head = http::read_head(&mut stream)?;
        ensure!(head.status == 101, "dial of {host}:{port} answered {}", head.status);
        stream.set_read_timeout(None)?;
        Ok(stream)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let stream = UnixStream::connect(self.socket()).context("tailscaled does not listen")?;
        http::request(stream, method, HOST, path, body.as_bytes())
    }

    /// A call whose failure ends the join.
    fn call(&self, path: &str, body: &str) -> Result<String> {
        let (status, text) = self.local_api("POST", path, body)?;
        ensure!((200..300).contains(&status), "{path} answered {status}: {text}");
        Ok(text)
    }

    /// `dns`: the tailnet's DNS configuration is used. With a network interface that would write the machine's
    /// resolv.conf.
    fn log_in(&mut self, control: &ControlServer, hostname: &str, key: &str, dns: bool) -> Result<()> {
        let socket = self.socket();
        let bus = wait_until("tailscaled listens", JOIN, || UnixStream::connect(&socket).ok())?;
        let preferences = json!({
            "ControlURL": control.url, "WantRunning": true, "CorpDNS": dns, "Hostname": hostname,
        });
        let options = json!({ "AuthKey": key, "UpdatePrefs": preferences });
        self.call("/localapi/v0/start", &options.to_string())?;
        self.call("/localapi/v0/login-interactive", "")?;
        until_running(bus)
    }

    fn ask_addresses(&self) -> Result<(Ipv4Addr, Ipv6Addr)> {
        let status: Value = serde_json::from_str(&self.request("GET", "/localapi/v0/status?peers=false", "")?.text())?;
        let address = |index: usize| status["TailscaleIPs"][index].as_str().unwrap_or_default();
        Ok((address(0).parse()?, address(1).parse()?))
    }
}

fn spawn(control: &ControlServer, directory: &TempDir, program: &Path, options: &NodeOptions) -> Result<Process> {
    let path = directory.path();
    let log = File::create(path.join("log"))?;
    let tun = options.interface.as_deref().unwrap_or("userspace-networking");
    let mut command = Command::new(program);
    command
        .args(["--no-logs-no-support", "--port=0"])
        .arg(format!("--tun={tun}"))
        .arg(format!("--statedir={}", path.display()))
        .arg(format!("--socket={}", path.join("sock").display()))
        .args(&options.args)
        .env_clear()
        .env("HOME", path)
        // Otherwise it writes to /var/lib/tailscale, whatever its state directory.
        .env("TS_LOGS_DIR", path)
        // The port mapper would wait 0.5 s for the answer of a gateway that is not there.
        .env("TS_DISABLE_PORTMAPPER", "1")
        .envs(control.ca_file.as_ref().map(|file| ("SSL_CERT_FILE", file)))
        .envs(options.env.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    Process::spawn(&mut command)
}

/// Reads the bus until it says Running. A read that lasts `JOIN` fails.
fn until_running(mut bus: UnixStream) -> Result<()> {
    bus.set_read_timeout(Some(JOIN))?;
    write!(bus, "GET {BUS} HTTP/1.0\r\nHost: {HOST}\r\n\r\n")?;
    let head = http::read_head(&mut bus)?;
    ensure!(head.status == 200, "the bus answered {}", head.status);
    for notice in serde_json::Deserializer::from_reader(bus).into_iter::<Notice>() {
        let notice = notice.context("the bus ended")?;
        if let Some(message) = notice.err_message {
            bail!("tailscaled says: {message}");
        }
        if notice.state == Some(RUNNING) {
            return Ok(());
        }
    }
    bail!("the bus ended before the node ran")
}
