//! A tailnet of its own for each test: headscale with TLS and embedded DERP.
//!
//! It is inside the calling thread's network namespace. Ports are fixed (the namespace is the test's own); files are in
//! a temporary directory.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::region::secrets_manager_host;
use crate::wait::wait_until;
use crate::{ca, netns, parts};

/// MagicDNS names end with it.
pub const BASE_DOMAIN: &str = "tail.test";
/// Where a control server listens. By its address, so that no resolver is asked before the tailnet is up.
#[derive(Clone, Copy, Debug)]
struct Ports {
    control: u16,
    grpc: u16,
    stun: u16,
}

const PORTS: Ports = Ports { control: 8443, grpc: 50443, stun: 3478 };
/// Those of a second control server in the same namespace.
const PORTS_BESIDE: Ports = Ports { control: 8444, grpc: 50444, stun: 3479 };

/// Measured 0.05 s (0.1 s with keys to make) on two idle cores; the rest is for busy ones.
const START: Duration = Duration::from_secs(20);

/// A running control server with one user; everything of it ends and goes when it is dropped.
pub struct Tailnet {
    // Before the directory: fields drop in order, and headscale writes until it is dead.
    headscale: Option<Process>,
    directory: TempDir,
    ports: Ports,
}

impl Tailnet {
    /// In a new namespace, which the calling thread enters.
    pub fn apart() -> Result<Self> {
        netns::enter_new().context("a network namespace")?;
        Self::start()
    }

    /// To be called in a thread that has entered a namespace (see [`crate::netns::enter_new`]) and stays.
    pub fn start() -> Result<Self> {
        Self::start_with_dns(json!({}))
    }

    /// The same with settings of headscale's `dns` in the place of those there are.
    pub fn start_with_dns(dns: Value) -> Result<Self> {
        Self::start_at(PORTS, dns)
    }

    /// A second one in the namespace of the first.
    pub fn start_beside() -> Result<Self> {
        Self::start_at(PORTS_BESIDE, json!({}))
    }

    fn start_at(ports: Ports, dns: Value) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("testbed-control-").tempdir()?;
        let names = [format!("*.{BASE_DOMAIN}"), secrets_manager_host(), netns::OWN_ADDRESS.to_owned()];
        ca::write(directory.path(), &names)?;
        write_config(directory.path(), ports, dns)?;
        let mut tailnet = Self { headscale: None, directory, ports };
        tailnet.start_control()?;
        tailnet.create_user()?;
        Ok(tailnet)
    }

    pub fn control_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.control)
    }

    /// The same control server at an address that is not loopback.
    pub fn control_url_outside_loopback(&self) -> String {
        format!("https://{}:{}", netns::OWN_ADDRESS, self.ports.control)
    }

    /// The authority that signed the control server's certificate, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate of that authority and its key, PEM: for loopback, for every node by its full name, and for AWS
    /// Secrets Manager.
    pub fn certificate(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("server.pem"), self.directory.path().join("server.key"))
    }

    /// Takes the control server away, as a power cut would.
    pub fn stop_control(&mut self) {
        self.headscale = None;
    }

    pub fn has_control(&self) -> bool {
        self.headscale.is_some()
    }

    /// Brings it back with the same data; returns when it answers. Call it from a thread of the namespace that stays.
    pub fn start_control(&mut self) -> Result<()> {
        self.stop_control();
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let mut command = self.headscale_command()?;
        command.arg("serve").stdout(log.try_clone()?).stderr(log);
        let headscale = self.headscale.insert(Process::spawn(&mut command)?);
        let socket = self.directory.path().join("headscale.sock");
        let control = ("127.0.0.1", self.ports.control);
        // The unix socket opens before the TLS port: with the port open, both are.
        let ready = wait_until("headscale answers", START, || match headscale.exited() {
            Ok(None) => (UnixStream::connect(&socket).is_ok() && TcpStream::connect(control).is_ok()).then_some(Ok(())),
            ended => Some(Err(anyhow!("headscale ended: {ended:?}"))),
        });
        ready.and_then(|ended| ended).with_context(|| format!("headscale did not start; its log:\n{}", self.log()))
    }

    /// Gives headscale other settings of `dns`, beside those there are at first, and starts it again.
    pub fn set_dns(&mut self, dns: Value) -> Result<()> {
        write_config(self.directory.path(), self.ports, dns)?;
        self.start_control()
    }

    /// What headscale wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// A headscale command line speaking to this control server.
    pub(crate) fn headscale_command(&self) -> Result<Command> {
        let mut command = Command::new(parts::find("headscale")?);
        command
            .env_clear()
            .env("HOME", self.directory.path())
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .args(["--config", "config.json"]);
        Ok(command)
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("headscale.log")
    }
}

/// Writes headscale's settings, with these of `dns` in the place of those there are.
fn write_config(directory: &Path, ports: Ports, dns: Value) -> Result<()> {
    let mut config = config(directory, ports);
    if let (Some(known), Value::Object(dns)) = (config["dns"].as_object_mut(), dns) {
        known.extend(dns);
    }
    Ok(fs::write(directory.join("config.json"), config.to_string())?)
}

/// JSON, which headscale reads as readily as YAML.
fn config(directory: &Path, ports: Ports) -> Value {
    let file = |name: &str| directory.join(name);
    json!({
        "server_url": format!("https://127.0.0.1:{}", ports.control),
        "listen_addr": format!("[::]:{}", ports.control),
        "metrics_listen_addr": "",
        "grpc_listen_addr": format!("127.0.0.1:{}", ports.grpc),
        "tls_cert_path": file("server.pem"),
        "tls_key_path": file("server.key"),
        "noise": { "private_key_path": file("noise.key") },
        "prefixes": { "v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48" },
        "derp": derp(&file("derp.key"), ports.stun),
        "database": { "type": "sqlite", "sqlite": { "path": file("db.sqlite"), "write_ahead_log": true } },
        // Everything is allowed until a policy is set.
        "policy": { "mode": "database" },
        "dns": {
            "magic_dns": true,
            "base_domain": BASE_DOMAIN,
            "override_local_dns": false,
            "nameservers": { "global": [], "split": {} },
        },
        "unix_socket": file("headscale.sock"),
        "unix_socket_permission": "0700",
        // Of a question by the command line; 5 s were too short once, when two test runs shared two cores.
        "cli": { "timeout": "30s" },
        "disable_check_updates": true,
        "logtail": { "enabled": false },
        "log": { "level": "info", "format": "text" },
        // As it comes, headscale batches for 0.8 s and 0.5 s: a join takes 2.0 s instead of 0.13 s.
        "tuning": { "batch_change_delay": "10ms", "node_store_batch_timeout": "10ms" },
    })
}

/// The embedded relay alone; nothing is fetched from Tailscale.
fn derp(key: &Path, stun: u16) -> Value {
    json!({
        "server": {
            "enabled": true,
            "region_id": 999,
            "region_code": "test",
            "region_name": "test bed",
            "verify_clients": true,
            "private_key_path": key,
            "automatically_add_embedded_derp_region": true,
            // Without an answer over IPv6 as well, a node's first look at its network waits its full 3 s.
            "stun_listen_addr": format!("[::]:{stun}"),
            "ipv4": "127.0.0.1",
            "ipv6": "::1",
        },
        "urls": [],
        "paths": [],
        "auto_update_enabled": false,
    })
}
