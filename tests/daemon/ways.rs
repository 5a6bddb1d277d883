//! Every way by which a client names a target, and what becomes of it.

use std::io::Write;
use std::net::TcpStream;

use testbed::daemon::SOCKS;
use testbed::http::read_head;
use testbed::server::Server;

use crate::associations::{ARRIVES, Association, Echo, SILENCE};
use crate::scene::connect;

/// What a client is told of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Reached,
    /// By the policy: reply 2, status 403.
    Refused,
    /// Neither a name nor an address: reply 4, status 400.
    NoHost,
    /// Anything else.
    Failed,
}

use Verdict::{Failed, NoHost, Reached, Refused};

/// Servers for all ways at one port: HTTP, and over UDP one that sends back what comes.
pub struct Servers {
    _http: Server,
    _udp: Echo,
}

impl Servers {
    /// On loopback, where nodes of the test bed lead to as well, and at `more` addresses of the namespace.
    pub fn at(port: u16, more: &[&str]) -> Self {
        let addresses = ["127.0.0.1", "[::1]"].iter().chain(more).map(|address| format!("{address}:{port}"));
        let addresses: Vec<String> = addresses.collect();
        let udp = Echo::on(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
        Self { _http: Server::http_everywhere(port).expect("a server"), _udp: udp }
    }
}

/// Checks that `host` and `port` meet the same fate by SOCKS5, CONNECT, an absolute-form request and a datagram. A datagram
/// that is not sent on is told nothing.
pub fn assert_all(host: &str, port: u16, verdict: Verdict) {
    let by_datagram = if verdict == Reached { ARRIVES } else { SILENCE };
    let association = Association::open();
    association.send(host, port, b"datagram");
    assert_streams(host, port, verdict);
    let came = association.receive(by_datagram).is_some();
    assert_eq!(came, verdict == Reached, "UDP {host:?} {port}");
}

/// Checks that `host` and `port` meet the same fate by SOCKS5, CONNECT and an absolute-form request.
pub fn assert_streams(host: &str, port: u16, verdict: Verdict) {
    assert_eq!(by_socks(host, port), verdict, "SOCKS5 {host:?} {port}");
    let authority = if host.contains(':') && !host.contains('[') { format!("[{host}]") } else { host.to_owned() };
    let connect = format!("CONNECT {authority}:{port} HTTP/1.1\r\nHost: {authority}:{port}\r\n\r\n");
    assert_eq!(by_http(&connect), verdict, "{connect:?}");
    let get =
        format!("GET http://{authority}:{port}/ HTTP/1.1\r\nHost: {authority}:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(by_http(&get), verdict, "{get:?}");
}

fn by_socks(host: &str, port: u16) -> Verdict {
    match connect(host, port) {
        Ok(_) => Reached,
        Err(error) => match error.reply() {
            Some(2) => Refused,
            Some(4) => NoHost,
            _ => {
                eprintln!("SOCKS5 {host:?} {port}: {error}");
                Failed
            }
        },
    }
}

fn by_http(request: &str) -> Verdict {
    let mut stream = TcpStream::connect(SOCKS).expect("connects");
    stream.set_read_timeout(Some(ARRIVES)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sent");
    match read_head(&mut stream).expect("answers").status {
        200 => Reached,
        403 => Refused,
        400 => NoHost,
        _ => Failed,
    }
}
