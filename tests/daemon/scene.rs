//! The scene of daemon tests: a tailnet with a node `web`, and the daemon.
//!
//! Nearly every test needs it.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use testbed::daemon::{Builder, Daemon, SOCKS};
use testbed::node::Node;
use testbed::socks;
use testbed::tailnet::Tailnet;

/// Far more than joining takes, also on a machine with other work.
pub const READY: Duration = Duration::from_secs(30);
/// For a daemon that is about to end by itself.
pub const END: Duration = Duration::from_secs(30);

/// Where headscale and its embedded relay listen.
pub const CONTROL_PORT: u16 = 8443;
/// No packet goes from node to node past the relay, as where NAT lets none through.
pub const RELAY_ONLY: (&str, &str) = ("TS_DEBUG_ALWAYS_USE_DERP", "1");

/// The program under test.
pub fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_tetherd").into()
}

/// A tailnet with one node, in a new namespace that the calling thread enters.
pub struct Scene {
    pub web: Node,
    pub tailnet: Tailnet,
}

impl Scene {
    pub fn new() -> Self {
        testbed::netns::enter_new().expect("a network namespace");
        let tailnet = Tailnet::start().expect("a tailnet");
        let web = Node::join(&tailnet, "web").expect("a second node");
        Self { web, tailnet }
    }

    /// The daemon, told to join as `app`.
    pub fn daemon(&self) -> Builder {
        Daemon::builder(binary()).joining(&self.tailnet, "app").expect("an auth key")
    }

    /// The daemon with its defaults, ready.
    pub fn ready(&self) -> Daemon {
        start_ready(self.daemon())
    }
}

/// The environment that tailscaled was given.
pub fn inherited(daemon: &Daemon) -> String {
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    let bytes = std::fs::read(format!("/proc/{tailscaled}/environ")).expect("environment");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Starts a daemon and waits until it is ready.
pub fn start_ready(builder: Builder) -> Daemon {
    let mut daemon = builder.start().expect("the daemon starts");
    daemon.wait_ready(READY).expect("the daemon gets ready");
    daemon
}

/// CONNECT through the daemon.
pub fn connect(host: &str, port: u16) -> Result<TcpStream, socks::Error> {
    socks::connect(SOCKS, host, port, None)
}

/// The reply code to a CONNECT that must fail.
pub fn reply_code(host: &str, port: u16) -> u8 {
    let error = match connect(host, port) {
        Ok(_) => panic!("{host}:{port} is connected to"),
        Err(error) => error,
    };
    error.reply().unwrap_or_else(|| panic!("{host}:{port}: no reply but {error}"))
}

/// One question to a command of the program under test, in an environment of its own.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear();
    command
}

/// An address for documentation (RFC 5737). Not one of an interface: an exit node gives no access to its own network.
pub const OUTSIDE: &str = "203.0.113.7";

/// A server outside of loopback and tailnet, reached from this namespace: directly, or by a node in it.
pub fn outside() -> u16 {
    let route = ["route", "add", "local", "203.0.113.0/24", "dev", "lo"];
    assert!(Command::new("ip").args(route).status().expect("ip").success());
    let listener = TcpListener::bind((OUTSIDE, 0)).expect("a port");
    let port = listener.local_addr().expect("address").port();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"outside"))));
    port
}
