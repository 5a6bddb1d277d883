//! The ways into the daemon that carry a connection as it is.
//!
//! How connections end is tested through all of them, to targets in the tailnet and to direct ones.

use std::fmt;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testbed::daemon::{Builder, SOCKS};
use testbed::{ca, http, socks};

use crate::door_client::Client;

/// A node in userspace mode, whose tailscaled hands connections to 127.0.0.1; and the same servers without a tailnet.
pub const HOSTS: [&str; 2] = ["web", "127.0.0.1"];
/// The first port of the forwards.
const FORWARDS: u16 = 20_000;
/// Far more than any answer takes; less than the limits of the daemon that would end a connection in its place.
pub const ANSWER: Duration = Duration::from_secs(10);

/// How a client comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Socks,
    Connect,
    Forward,
    /// SOCKS5 inside TLS.
    Tls,
    UnixSocks,
    UnixConnect,
    UnixForward,
}

const ALL: [Door; 7] =
    [Door::Socks, Door::Connect, Door::Forward, Door::Tls, Door::UnixSocks, Door::UnixConnect, Door::UnixForward];

impl Door {
    /// Whether the client's connection is TCP as it is: a unix socket knows no reset, and TLS is carried over one.
    pub fn is_tcp(self) -> bool {
        matches!(self, Self::Socks | Self::Connect | Self::Forward)
    }
}

/// A door, and where it leads.
#[derive(Clone, Copy)]
pub struct Way {
    pub door: Door,
    pub host: &'static str,
    pub port: u16,
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} to {}:{}", self.door, self.host, self.port)
    }
}

/// The doors of one daemon.
pub struct Doors {
    directory: TempDir,
    targets: Vec<(&'static str, u16)>,
}

impl Doors {
    /// To `port` of each of `hosts`.
    pub fn to(hosts: &[&'static str], port: u16) -> Self {
        let targets = hosts.iter().map(|&host| (host, port)).collect();
        let directory = tempfile::tempdir().expect("directory");
        ca::write(directory.path(), &[]).expect("certificates");
        Self { directory, targets }
    }

    /// Adds the settings by which a daemon has these doors.
    pub fn settings(&self, builder: Builder) -> Builder {
        let forwards = self.targets.iter().enumerate().map(|(number, (host, port))| {
            let (listen, socket) = (FORWARDS + number as u16, self.forward(number));
            format!("127.0.0.1:{listen}={host}:{port},unix:{}={host}:{port}", socket.display())
        });
        let file = |name: &str| self.directory.path().join(name).to_string_lossy().into_owned();
        builder
            .env("TETHERD_SOCKS_TLS_CERT", &file("server.pem"))
            .env("TETHERD_SOCKS_TLS_KEY", &file("server.key"))
            .env("TETHERD_SOCKS_LISTEN", &format!("{SOCKS},unix:{}", self.proxy().display()))
            .env("TETHERD_FORWARDS", &forwards.collect::<Vec<_>>().join(","))
    }

    pub fn ways(&self) -> Vec<Way> {
        let ways_to = |&(host, port): &(&'static str, u16)| ALL.map(|door| Way { door, host, port });
        self.targets.iter().flat_map(ways_to).collect()
    }

    /// A connection to the target, as the client has it.
    pub fn enter(&self, way: Way) -> Result<Client> {
        self.enter_and_send(way, b"")
    }

    /// The same by a client that sends `ahead` without waiting for the daemon's answer.
    pub fn enter_and_send(&self, way: Way, ahead: &[u8]) -> Result<Client> {
        let number = self.targets.iter().position(|target| *target == (way.host, way.port)).context("no target")?;
        let socket = match way.door {
            Door::Socks | Door::Connect | Door::Tls => TcpStream::connect(SOCKS)?,
            Door::Forward => TcpStream::connect((Ipv4Addr::LOCALHOST, FORWARDS + number as u16))?,
            Door::UnixSocks | Door::UnixConnect => stream_of(UnixStream::connect(self.proxy())?),
            Door::UnixForward => stream_of(UnixStream::connect(self.forward(number))?),
        };
        socket.set_read_timeout(Some(ANSWER))?;
        let mut stream = if way.door == Door::Tls { self.over_tls(socket)? } else { Client::plain(socket) };
        match way.door {
            Door::Socks | Door::Tls | Door::UnixSocks => {
                socks::authenticate(&mut stream, None)?;
                stream.write_all(&[&socks::request(1, way.host, way.port), ahead].concat())?;
                socks::read_reply(&mut stream)?;
            }
            Door::Connect | Door::UnixConnect => connect(&mut stream, way, ahead)?,
            Door::Forward | Door::UnixForward => stream.write_all(ahead)?,
        }
        Ok(stream)
    }

    /// Connections on which HTTP in absolute form is spoken: over TCP, over the unix socket, and over TLS.
    pub fn for_http(&self) -> Result<[(Client, &'static str); 3]> {
        let tls = self.over_tls(TcpStream::connect(SOCKS)?)?;
        let unix = stream_of(UnixStream::connect(self.proxy())?);
        let clients =
            [(Client::plain(TcpStream::connect(SOCKS)?), "TCP"), (Client::plain(unix), "a unix socket"), (tls, "TLS")];
        clients.iter().try_for_each(|(client, _)| client.socket.set_read_timeout(Some(ANSWER)))?;
        Ok(clients)
    }

    fn over_tls(&self, socket: TcpStream) -> Result<Client> {
        Client::over_tls(socket, &self.directory.path().join("ca.pem"))
    }

    fn proxy(&self) -> PathBuf {
        self.directory.path().join("proxy.sock")
    }

    fn forward(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("forward-{number}.sock"))
    }
}

/// Checks every way, and fails with all that do not hold.
pub fn each_holds(ways: &[Way], mut check: impl FnMut(Way) -> Result<()>) {
    let failed = ways.iter().filter_map(|way| check(*way).err().map(|error| format!("{way}: {error:#}")));
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{} of {} ways:\n{}", failed.len(), ways.len(), failed.join("\n"));
}

/// The standard library's type for TCP reads, writes, shuts down and closes any stream socket, so that one type is
/// enough for the clients.
fn stream_of(stream: UnixStream) -> TcpStream {
    OwnedFd::from(stream).into()
}

fn connect(stream: &mut Client, Way { host, port, .. }: Way, ahead: &[u8]) -> Result<()> {
    let head = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), ahead].concat())?;
    let status = http::read_head(stream)?.status;
    ensure!(status == 200, "CONNECT is answered by {status}");
    Ok(())
}
