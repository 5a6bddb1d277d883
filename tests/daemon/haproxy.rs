//! A real HAProxy in front, with headers of the PROXY protocol.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testbed::daemon::{Builder, Daemon};
use testbed::process::Process;
use testbed::server::{PAGE, Server};
use testbed::socks;
use testbed::wait::wait_until;

use crate::scene::{READY, Scene, start_ready};
use crate::tls_listeners::{authority, client, curl, with_tls};
use crate::without_the_password::{PASSWORD, with_password};

/// What it listens on: for the proxy by version 1 and by version 2, and for a forward.
const PROXIES: [u16; 2] = [1055, 1065];
const FORWARD: u16 = 7008;

const CONFIGURATION: &str = "
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen first
    bind 10.77.0.1:1055
    server tetherd 127.0.0.1:1056 send-proxy check check-send-proxy inter 200ms
listen second
    bind 10.77.0.1:1065
    server tetherd 127.0.0.1:1056 send-proxy-v2 proxy-v2-options crc32c,unique-id check check-send-proxy inter 200ms
    unique-id-format %[uuid()]
listen third
    bind 10.77.0.1:7008
    server tetherd unix@/FORWARD send-proxy-v2
";

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::new(10, 77, 0, 1), port).into()
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("forward.sock")
}

fn haproxy(directory: &Path) -> Process {
    let file = directory.join("haproxy.cfg");
    let text = CONFIGURATION.replace("/FORWARD", &socket(directory).to_string_lossy());
    fs::write(&file, text).expect("written");
    let mut haproxy = Command::new("/usr/sbin/haproxy");
    haproxy.arg("-f").arg(file).env_clear().stdin(Stdio::null());
    Process::spawn(&mut haproxy).expect("apt-get install haproxy")
}

/// A daemon behind it.
fn behind(builder: Builder, directory: &Path) -> Daemon {
    let forward = format!("unix:{}", socket(directory).display());
    let builder = builder.env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1056").env("TETHERD_ALLOW_OPEN_PROXY", "true");
    let builder = builder.env("TETHERD_FORWARDS", &format!("{forward}=web:7"));
    start_ready(builder.env("TETHERD_PROXY_PROTOCOL", &format!("127.0.0.1:1056,{forward}")))
}

/// The log has the client's address, and haproxy's.
fn names_the_client(daemon: &Daemon, proxy: SocketAddr) {
    let mut refused = socks::open(proxy).expect("connects");
    let error = socks::handshake(&mut refused, "web", 9, Some(("app", PASSWORD))).expect_err("nobody listens");
    assert_eq!(error.reply(), Some(5));
    let from = format!("from=\"{} by 127.0.0.1:", refused.local_addr().expect("an address"));
    wait_until("the log has the client", READY, || daemon.stderr().contains(&from).then_some(()))
        .unwrap_or_else(|error| panic!("{error}: {from}: {}", daemon.stderr()));
}

#[test]
fn haproxy_in_front_is_understood_in_both_versions_and_before_forwards() {
    let scene = Scene::new();
    let _servers = (Server::http(80).expect("server"), Server::echo(7).expect("server"));
    let directory = tempfile::tempdir().expect("a directory");
    let _haproxy = haproxy(directory.path());
    let daemon = behind(with_password(&scene), directory.path());
    for proxy in PROXIES.map(at) {
        let connect = || socks::connect(proxy, "web", 7, Some(("app", PASSWORD))).ok();
        wait_until("haproxy has seen the daemon", READY, connect).expect("is served");
        names_the_client(&daemon, proxy);
        for how in [&["--proxytunnel"][..], &[]] {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--max-time", "20", "--proxy-user", "app:correct horse", "--proxy"]);
            let output = curl.arg(format!("http://{proxy}")).args(how).arg("http://web/").output().expect("curl");
            assert_eq!(String::from_utf8_lossy(&output.stdout), PAGE, "{proxy} {how:?}");
        }
    }
    let mut forwarded = socks::open(at(FORWARD)).expect("connects");
    let mut answer = [0; 5];
    forwarded.write_all(b"hello").and_then(|()| forwarded.read_exact(&mut answer)).expect("comes back");
    assert_eq!(&answer, b"hello");
}

#[test]
fn haproxy_in_front_passes_tls_on_behind_its_header() {
    let scene = Scene::new();
    let _servers = (Server::http(80).expect("server"), Server::echo(7).expect("server"));
    let directory = authority();
    let _haproxy = haproxy(directory.path());
    let daemon = behind(with_tls(with_password(&scene), directory.path()), directory.path());
    let said = || {
        let said = client(directory.path(), "-", ["1", PASSWORD, "web", "7", "300032"]);
        (said == "reply 0, same 300032").then_some(())
    };
    wait_until("TLS behind the header", READY, said).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    let page = curl(directory.path(), &["--proxy-user", "app:correct horse", "--proxytunnel", "http://web/"]);
    assert_eq!(page, PAGE);
    assert!(socks::connect(at(PROXIES[0]), "web", 7, Some(("app", PASSWORD))).is_err(), "in clear");
}
