//! Headers of the PROXY protocol: what is taken, what is refused, and when.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use testbed::daemon::{Builder, Daemon};
use testbed::http::read_head;
use testbed::server::Server;
use testbed::socks;
use testbed::wait::wait_until;

use crate::malformed::counted;
use crate::metrics::metrics;
use crate::scene::{READY, Scene, start_ready};
use crate::without_the_password::{PASSWORD, RIGHT, Steps, kept, with_password};

/// A proxy and a forward that balancers are in front of, in the namespace's own network.
pub const BALANCED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 1056);
pub const FORWARD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 7007);

/// A daemon that asks for headers there, for the password, and on 127.0.0.1:1055 for no header.
pub fn balanced(scene: &Scene) -> Builder {
    let listen = format!("127.0.0.1:1055,{BALANCED}");
    let builder = with_password(scene).env("TETHERD_SOCKS_LISTEN", &listen).env("TETHERD_ALLOW_OPEN_PROXY", "true");
    let builder = builder.env("TETHERD_FORWARDS", &format!("{FORWARD}=web:7"));
    builder.env("TETHERD_PROXY_PROTOCOL", &format!("{BALANCED},{FORWARD}"))
}

/// A header of version 1 that names `source`.
pub fn line(source: &str) -> Vec<u8> {
    let source: SocketAddr = source.parse().expect("an address");
    let (family, own) = if source.is_ipv4() { ("TCP4", "10.77.0.1") } else { ("TCP6", "fd00::1") };
    format!("PROXY {family} {} {own} {} 1056\r\n", source.ip(), source.port()).into()
}

/// A header of version 2: command and family, and what stands behind the length.
fn block(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).expect("fits").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, addresses].concat()
}

/// A header of version 2 that names `source`, with extensions.
pub fn named(source: &str, extensions: &[u8]) -> Vec<u8> {
    let source: SocketAddr = source.parse().expect("an address");
    let ports = [source.port().to_be_bytes(), 1056_u16.to_be_bytes()].concat();
    match source {
        SocketAddr::V4(v4) => block(0x21, 0x11, &[&v4.ip().octets()[..], &[10, 77, 0, 1], &ports, extensions].concat()),
        SocketAddr::V6(v6) => block(0x21, 0x21, &[&v6.ip().octets()[..], &[0xfd; 16], &ports, extensions].concat()),
    }
}

/// A client whose balancer sends a header, in one packet with the client's first words.
pub struct Introduced {
    pub stream: TcpStream,
    header: Vec<u8>,
}

impl Introduced {
    pub fn to(proxy: SocketAddr, header: &[u8]) -> Self {
        Self { stream: socks::open(proxy).expect("connects"), header: header.to_vec() }
    }

    /// Sends the header by itself, byte by byte.
    fn dripping(mut self) -> Self {
        for byte in std::mem::take(&mut self.header) {
            self.stream.write_all(&[byte]).expect("sent");
            sleep(Duration::from_micros(300));
        }
        self
    }
}

impl Read for Introduced {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.read(bytes)
    }
}

impl Write for Introduced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write_all(&[&std::mem::take(&mut self.header), bytes].concat())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn echoes(mut stream: impl Read + Write, way: &str) {
    let mut answer = [0; 5];
    stream.write_all(b"PROXY").and_then(|()| stream.read_exact(&mut answer)).expect(way);
    assert_eq!(&answer, b"PROXY", "{way}");
}

/// A request over HTTP, with the password.
fn ask(stream: &mut Introduced, request: &str) -> u16 {
    let head = format!("{request} HTTP/1.1\r\nHost: web\r\nProxy-Authorization: Basic {RIGHT}\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    read_head(stream).expect(request).status
}

/// Each protocol is served behind the header.
fn serves_all(open: &impl Fn(SocketAddr) -> Introduced) {
    let mut by_socks = open(BALANCED);
    socks::handshake(&mut by_socks, "web", 7, Some(("app", PASSWORD))).expect("is let in");
    echoes(by_socks, "SOCKS5");
    let mut by_connect = open(BALANCED);
    assert_eq!(ask(&mut by_connect, "CONNECT web:7"), 200);
    echoes(by_connect, "CONNECT");
    assert_eq!(ask(&mut open(BALANCED), "GET http://web/"), 200);
    echoes(open(FORWARD), "forward");
}

/// Waits for a line in the log that says where a client comes from.
fn wait_logged(daemon: &Daemon, from: &str) {
    let logged = || daemon.stderr().contains(&format!("connection not made from=\"{from}\"")).then_some(());
    wait_until("the log says where it comes from", READY, logged)
        .unwrap_or_else(|error| panic!("{error}: {from}: {}", daemon.stderr()));
}

#[test]
fn proxy_protocol_headers_of_both_versions_come_before_every_protocol_and_name_the_client() {
    let scene = Scene::new();
    let _servers = (Server::http(80).expect("server"), Server::echo(7).expect("server"));
    let daemon = start_ready(balanced(&scene));
    let (v4, v6) = ("203.0.113.7:56324", "[2001:db8::7]:56325");
    let extensions = b"\x03\x00\x04\xfd\x16\xf4\x38\x04\x03\x00";
    let extensions = [&extensions[..], &[0; 768], b"\xea\x00\x17\x01vpce-08d2bf15fac5001c9"].concat();
    for (header, named) in [
        (line(v4), Some(v4)),
        (line(v6), Some(v6)),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"PROXY UNKNOWN 127.0.0.1 127.0.0.1 1 1\r\n".to_vec(), None),
        (named("203.0.113.8:1", b""), Some("203.0.113.8:1")),
        (named("[2001:db8::8]:1", b""), Some("[2001:db8::8]:1")),
        (named("203.0.113.9:2", &extensions), Some("203.0.113.9:2")),
        (block(0x20, 0x00, b""), None),
        (block(0x20, 0x11, &[127, 0, 0, 1, 127, 0, 0, 1, 0, 1, 0, 1]), None),
        (block(0x21, 0x00, b"anything"), None),
        (block(0x21, 0x31, &[b'/'; 216]), None),
    ] {
        serves_all(&|proxy| Introduced::to(proxy, &header));
        serves_all(&|proxy| Introduced::to(proxy, &header).dripping());
        let mut refused = Introduced::to(BALANCED, &header);
        let error = socks::handshake(&mut refused, "web", 9, Some(("app", PASSWORD))).expect_err("nobody listens");
        assert_eq!(error.reply(), Some(5));
        let balancer = refused.stream.local_addr().expect("an address");
        wait_logged(&daemon, &named.map_or(balancer.to_string(), |named| format!("{named} by {balancer}")));
    }
    assert!(socks::connect(([127, 0, 0, 1], 1055).into(), "web", 7, Some(("app", PASSWORD))).is_ok());
}

/// What a client hears that sends `bytes` to `proxy`.
fn answer(proxy: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = socks::open(proxy).expect("connects");
    let (_, mut answer) = (stream.write_all(bytes), Vec::new());
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn proxy_protocol_connections_without_a_header_are_closed_counted_and_said() {
    let scene = Scene::new();
    let _server = Server::echo(7).expect("server");
    let daemon = start_ready(balanced(&scene));
    let password = b"\x05\x01\x02\x01\x03app\x0dcorrect horse\x05\x01\x00\x03\x03web\x00\x07";
    let http = format!("CONNECT web:7 HTTP/1.1\r\nHost: web\r\nProxy-Authorization: Basic {RIGHT}\r\n\r\n");
    let behind = |header: &[u8]| [header, password].concat();
    let cut = line("203.0.113.7:1");
    let rows: Vec<(SocketAddr, Vec<u8>)> = vec![
        (BALANCED, password.to_vec()),
        (BALANCED, http.into_bytes()),
        (BALANCED, b"\x16\x03\x01\x00\x05hello".to_vec()),
        (FORWARD, b"hello, web".to_vec()),
        (BALANCED, behind(b"PROXY TCP4 203.0.113.7 10.77.0.1 56324\r\n")),
        (BALANCED, behind(b"PROXY TCP4 203.0.113.7 10.77.0.1 056324 1\r\n")),
        (BALANCED, behind(b"PROXY UDP4 203.0.113.7 10.77.0.1 56324 1\r\n")),
        (BALANCED, behind(&[&cut[..cut.len() - 2], b"\n"].concat())),
        (BALANCED, behind(format!("PROXY UNKNOWN {}\r\n", "f".repeat(93)).as_bytes())),
        (BALANCED, behind(&block(0x22, 0x11, &[1; 12]))),
        (BALANCED, behind(&block(0x31, 0x11, &[1; 12]))),
        (BALANCED, behind(&block(0x21, 0x41, &[1; 12]))),
        (FORWARD, behind(&block(0x21, 0x21, &[1; 12]))),
        (BALANCED, behind(&block(0x21, 0x11, &[1; 60_000]))),
    ];
    for (proxy, bytes) in &rows {
        let shown = bytes[..bytes.len().min(60)].escape_ascii().to_string();
        let heard = counted(&daemon, &shown, || answer(*proxy, bytes));
        assert!(heard.is_empty(), "{shown}: {}", heard.escape_ascii());
    }
    // A second header is the client's own word, and none of the proxy's protocols: HTTP may begin with empty lines.
    for second in [line("127.0.0.1:1"), named("127.0.0.1:1", b"")] {
        let twice = behind(&[line("203.0.113.7:1"), second].concat());
        let heard = counted(&daemon, "two headers", || answer(BALANCED, &twice));
        let is_refused = heard.is_empty() || heard.starts_with(b"HTTP/1.1 400");
        assert!(is_refused, "{}: {}", twice.escape_ascii(), heard.escape_ascii());
    }
    let samples = metrics(&daemon);
    let malformed = samples.iter().filter(|(name, _)| name.contains("outcome=\"malformed\"")).map(|(_, count)| count);
    assert_eq!(malformed.sum::<f64>(), rows.len() as f64 + 2.0, "{samples:#?}");
    let log = daemon.stderr();
    let of_balancer = |line: &&str| line.contains("connection not made") && line.contains("from=\"10.77.0.1:");
    let lines: Vec<_> = log.lines().filter(of_balancer).collect();
    assert!(lines.len() == 1 && lines[0].contains("without a header of the PROXY protocol"), "{lines:#?}");
}

const LATE: u64 = 800;
const HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xdc\x04\x04\x20";
const HALF_A_BLOCK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00";
const SLOW: &[(SocketAddr, Steps)] = &[
    (BALANCED, &[]),
    (FORWARD, &[]),
    (BALANCED, &[(LATE, b"PRO")]),
    (BALANCED, &[(400, b"PROXY TCP4 192.0.2.7 "), (200, b"1"), (200, b"9"), (150, b"2")]),
    (FORWARD, &[(LATE, HALF_A_BLOCK)]),
    (BALANCED, &[(LATE, HEADER)]),
    (BALANCED, &[(400, HEADER), (400, b"\x05\x01\x02\x01\x03app")]),
];

#[test]
fn proxy_protocol_headers_come_within_the_deadline_of_the_handshake() {
    let scene = Scene::new();
    let daemon = start_ready(balanced(&scene).env("TETHERD_HANDSHAKE_TIMEOUT", "1s"));
    let times: Vec<_> = SLOW.iter().map(|(proxy, steps)| kept(&daemon, *proxy, steps)).collect();
    let in_time = |time: &Duration| (900..1_700).contains(&time.as_millis());
    assert!(times.iter().all(in_time), "kept for longer than 1 s: {times:?}");
}
