//! The scene of client tests: a tailnet, a node with a page, and the daemon.
//!
//! Clients run in a directory of their own. The page that the second node serves and the report are a megabyte each: a
//! client that gets or sends less is noticed.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use testbed::daemon::Daemon;
use testbed::names::NoNames;
use testbed::node::Node;
use testbed::process::Process;
use testbed::tailnet::Tailnet;
use testbed::{parts, wait_until};

use crate::documented;

/// Measured 0.5 s for the slowest, on two idle cores; the rest is for busy ones.
const READY: Duration = Duration::from_secs(60);
/// Seconds that one block of the page gets; the slowest takes 5 on two idle cores.
const BLOCK: &str = "120";

/// Fields drop in order: the daemon before what it talks to.
pub struct Scene {
    daemon: Option<Daemon>,
    servers: Vec<Process>,
    pub node: Node,
    pub tailnet: Tailnet,
    _names: Option<NoNames>,
    directory: TempDir,
    settings: Vec<(String, String)>,
}

impl Scene {
    /// The second node is `web` and serves the page. Names of the tailnet are unknown to every resolver but its own.
    pub fn web() -> Self {
        let mut scene = Self::with_node("web", Some(NoNames::start));
        let (certificate, key) = scene.tailnet.certificate();
        let mut target = Command::new(client("python/bin/python3"));
        target.arg(program("target.py")).arg(scene.path("page.txt")).args([certificate, key]);
        scene.serve(target, 443);
        scene
    }

    /// The second node has this name; its servers are the test's.
    pub fn node(name: &str) -> Self {
        Self::with_node(name, None)
    }

    fn with_node(name: &str, names: Option<fn() -> anyhow::Result<NoNames>>) -> Self {
        testbed::netns::enter_new().expect("a network namespace");
        let names = names.map(|start| start().expect("a name server"));
        let tailnet = Tailnet::start().expect("a tailnet");
        let node = Node::join(&tailnet, name).expect("a second node");
        let directory = tempfile::Builder::new().prefix("clients-").tempdir().expect("a directory");
        let scene =
            Self { daemon: None, servers: Vec::new(), node, tailnet, _names: names, directory, settings: Vec::new() };
        scene.furnish();
        scene
    }

    /// What the blocks name by a relative path.
    fn furnish(&self) {
        fs::write(self.path("page.txt"), page()).expect("written");
        fs::write(self.path("report.csv"), report()).expect("written");
        fs::copy(self.tailnet.ca_file(), self.path("ca.pem")).expect("copied");
        for file in ["Fetch.java", "Client.java"] {
            fs::copy(program(file), self.path(file)).expect("copied");
        }
        for program in ["fetch", "call"] {
            symlink(client("bin").join(program), self.path(program)).expect("linked");
        }
        symlink(client("node/node_modules"), self.path("node_modules")).expect("linked");
        fs::create_dir(self.path("bin")).expect("a directory");
    }

    /// With a setting for the daemon, and for `tetherd env`.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With the daemon, ready.
    pub fn ready(mut self) -> Self {
        let builder = Daemon::builder(env!("CARGO_BIN_EXE_tetherd")).joining(&self.tailnet, "app").expect("a key");
        let builder = self.settings.iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        let daemon = self.daemon.insert(builder.start().expect("the daemon starts"));
        daemon.wait_ready(READY).expect("the daemon gets ready");
        self
    }

    /// Starts a server of the second node, and waits until it listens on this port of the namespace's loopback.
    pub fn serve(&mut self, mut server: Command, port: u16) {
        let log = fs::File::create(self.path("server.log")).expect("a log");
        let logs = log.try_clone().expect("a second handle");
        server.stdin(Stdio::null()).stdout(log).stderr(logs);
        let mut server = Process::spawn(&mut server).expect("the server starts; without it, run `make test`");
        let listens = wait_until("the server listens", READY, || {
            let ended = !matches!(server.exited(), Ok(None));
            (ended || TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(!ended)
        });
        let written = || fs::read_to_string(self.path("server.log")).unwrap_or_default();
        assert!(listens.is_ok_and(|listens| listens), "no server on port {port}; it wrote:\n{}", written());
        self.servers.push(server);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a block of the page and returns what it printed.
    pub fn run(&self, block: &str) -> String {
        let (language, text) = documented::block(block);
        self.run_text(block, language, &text)
    }

    pub fn run_text(&self, what: &str, language: &str, text: &str) -> String {
        let output = self.command(language, text).output().expect("coreutils are there");
        self.checked(what, &output)
    }

    /// Whether a program of the shell ends well and prints `expected`; with what it wrote to stderr, where not.
    pub fn tries(&self, text: &str, expected: &str) -> (bool, String) {
        let output = self.command("sh", text).output().expect("coreutils are there");
        let printed = String::from_utf8_lossy(&output.stdout).trim_end() == expected;
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        let last: Vec<_> = complaint.lines().rev().take(5).collect();
        (output.status.success() && printed, format!("{}: {}", output.status, last.join(" < ")))
    }

    /// What a program that must fail wrote to stderr.
    pub fn fails(&self, text: &str, language: &str) -> String {
        let output = self.command(language, text).output().expect("coreutils are there");
        // 124 is `timeout`'s own.
        assert!(!matches!(output.status.code(), Some(0 | 124)), "{text} is to fail: {}", output.status);
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts a block that runs until the scene ends, and returns when it has its UDP port.
    pub fn start(&mut self, block: &str, port: u16) {
        let (language, text) = documented::block(block);
        let mut command = self.command(language, &text);
        command.stdin(Stdio::null());
        self.servers.push(Process::spawn(&mut command).expect("starts"));
        // In /proc/net/udp, which is the calling thread's namespace's, ports are in hexadecimal.
        let wanted = format!(":{port:04X} ");
        let bound = || fs::read_to_string("/proc/thread-self/net/udp").is_ok_and(|table| table.contains(&wanted));
        wait_until("the block has its port", READY, || bound().then_some(())).expect("starts");
    }

    fn command(&self, language: &str, text: &str) -> Command {
        let interpreter: &[&str] = match language {
            "sh" => &["sh", "-euc"],
            "python" => &["python3", "-c"],
            "js" => &["node", "--input-type=module", "--eval"],
            other => panic!("nothing runs {other}"),
        };
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", BLOCK]).args(interpreter).arg(text).env_clear();
        command.envs(self.settings.iter().cloned()).envs(self.environment()).current_dir(self.directory.path());
        command
    }

    /// Where programs are, and how each is told of a private authority.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let tetherd = Path::new(env!("CARGO_BIN_EXE_tetherd")).parent().expect("a directory").to_owned();
        let inherited = std::env::var("PATH").unwrap_or_default();
        let first = [self.path("bin"), tetherd, client("python/bin"), client("bin"), client("node/node_modules/.bin")];
        let first: Vec<_> = first.iter().map(|directory| directory.to_string_lossy()).collect();
        let trust = ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"];
        let ca = self.path("ca.pem").to_string_lossy().into_owned();
        let mut environment: Vec<_> = trust.into_iter().map(|name| (name, ca.clone())).collect();
        environment.push(("PATH", format!("{}:{inherited}:/usr/sbin:/usr/bin:/sbin:/bin", first.join(":"))));
        // .NET is a package of Python here, and has no library for the world's languages.
        environment.push(("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", "1".to_owned()));
        environment.push(("DOTNET_ROOT", dotnet().to_string_lossy().into_owned()));
        environment.push(("HOME", self.directory.path().to_string_lossy().into_owned()));
        environment
    }

    fn checked(&self, what: &str, output: &Output) -> String {
        let complaint = || {
            let daemon = self.daemon.as_ref().map(Daemon::stderr).unwrap_or_default();
            format!("{what}: {}\n{}\ntetherd: {daemon}", output.status, String::from_utf8_lossy(&output.stderr))
        };
        let missing = "where a program is missing, run `make test`, which installs all of them";
        assert!(output.status.success(), "{} ({missing})", complaint());
        String::from_utf8(output.stdout.clone()).expect("text")
    }
}

/// A client installed by `make clients`.
pub fn client(name: &str) -> PathBuf {
    let path = parts::directory().expect("parts").join("clients").join(name);
    assert!(path.exists(), "{} is missing: run `make test`, or `make clients`", path.display());
    path
}

/// Where .NET's runtime is, on the architecture that has one in Python's registry.
fn dotnet() -> PathBuf {
    let packages = fs::read_dir(client("python/lib")).into_iter().flatten().flatten();
    let found = packages.map(|python| python.path().join("site-packages/dnv/net/runtime/.net"));
    found.into_iter().find(|path| path.exists()).unwrap_or_default()
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/programs").join(name)
}

/// A line of a megabyte: no part of it is like another.
fn numbered(word: &str) -> String {
    (0..80_000).map(|number| format!("{word}-{number:06},")).collect()
}

pub fn page() -> String {
    numbered("page")
}

pub fn report() -> String {
    numbered("report")
}

/// What was printed is these bodies, whole and in this order, newlines apart, which clients add between them.
pub fn assert_printed(block: &str, printed: &str, bodies: &[String]) {
    let (printed, bodies) = (printed.replace('\n', ""), bodies.concat());
    let common = printed.bytes().zip(bodies.bytes()).take_while(|(a, b)| a == b).count();
    let end = printed.get(common..).unwrap_or_default().chars().take(200).collect::<String>();
    assert!(
        printed == bodies,
        "{block}: {} of {} bytes, the first {common} are right, then: {end:?}",
        printed.len(),
        bodies.len()
    );
}
