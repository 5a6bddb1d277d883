//! Starts the SOCKS5 servers that tetherd is measured against.
//!
//! They are those that people use where there is no tailnet, each on a port of its own.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::process::Process;
use testbed::{parts, wait_until};

use crate::report::Report;
use crate::scene::Proxy;

const LISTENS: Duration = Duration::from_secs(10);
const MICROSOCKS: u16 = 3001;
const DANTE: u16 = 3002;
const FAST_SOCKS5: u16 = 3003;
const GOST: u16 = 3004;

/// No name look-ups, no log, nobody but this machine.
const DANTE_CONF: &str = "\
logoutput: /dev/null
internal: 127.0.0.1 port = 3002
external: lo
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
";

/// One that runs.
pub struct Rival {
    pub name: &'static str,
    pub proxy: Proxy,
    process: Process,
    _directory: tempfile::TempDir,
}

impl Rival {
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    fn start(name: &'static str, port: u16, command: impl FnOnce(&Path) -> Result<Command>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = command(directory.path())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(&mut command).with_context(|| format!("{name}: run `make rivals`"))?;
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        wait_until(name, LISTENS, || TcpStream::connect(address).ok())?;
        Ok(Self { name, proxy: Proxy(address), process, _directory: directory })
    }
}

/// All of them. `make rivals` installs what is missing.
pub fn all() -> Result<Vec<Rival>> {
    let microsocks = Rival::start("microsocks", MICROSOCKS, |_| {
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &MICROSOCKS.to_string()]);
        Ok(command)
    })?;
    let dante = Rival::start("dante", DANTE, |directory| {
        let file = directory.join("danted.conf");
        fs::write(&file, DANTE_CONF)?;
        let mut command = Command::new("/usr/sbin/danted");
        command.arg("-f").arg(file).arg("-p").arg(directory.join("pid"));
        Ok(command)
    })?;
    let fast_socks5 = Rival::start("fast-socks5", FAST_SOCKS5, |_| {
        let mut command = Command::new(example()?);
        command.args(["--listen-addr", &format!("127.0.0.1:{FAST_SOCKS5}"), "no-auth"]);
        Ok(command)
    })?;
    let gost = Rival::start("gost", GOST, |_| {
        let mut command = Command::new(parts::find("gost")?);
        command.arg(format!("socks5://127.0.0.1:{GOST}"));
        Ok(command)
    })?;
    Ok(vec![microsocks, dante, fast_socks5, gost])
}

/// The example server of the library that tetherd reads SOCKS5 with.
fn example() -> Result<PathBuf> {
    let target = Report::path("outside")?;
    let target = target.parent().and_then(Path::parent).context("the target directory has no name")?;
    Ok(target.join("tools/bin/server"))
}
