//! Tests that no packet for reserved addresses leaves outside the tunnel.
//!
//! These are the metadata and link-local addresses, and tailnet addresses that no node has. The kernel counts the
//! packets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};

use testbed::daemon::SOCKS;
use testbed::flows::nft;
use testbed::names::NoNames;
use testbed::server::{PAGE, Server};
use testbed::socks;
use testbed::wait::wait_until;

use crate::malformed::answer_to;
use crate::scene::{READY, Scene, connect, reply_code, start_ready};

/// The namespace gets a way out over IPv6, which it lacks: without a route no packet could leave, and none be counted.
const ROUTES: &str = "\
addr add 2001:db8::1/64 dev out nodad
neigh add 2001:db8::2 lladdr 02:00:00:00:00:02 dev out nud permanent
route add default via 2001:db8::2 dev out
";

const RULES: &str = "\
table inet watch {
  counter leaked { }
  set to { type ipv4_addr . inet_proto . inet_service; flags dynamic; }
  set to6 { type ipv6_addr . inet_proto . inet_service; flags dynamic; }
  chain output {
    type filter hook output priority 0;
    ip daddr { 100.64.0.0/10, 169.254.0.0/16 } counter name leaked update @to { ip daddr . meta l4proto . th dport }
    ip6 daddr { fd7a:115c:a1e0::/48, fe80::/10, fd00:ec2::/32, 64:ff9b::/96, 2002:a9fe::/32 } counter name leaked update @to6 { ip6 daddr . meta l4proto . th dport }
  }
}
";

const ADDRESSES: [&str; 13] = [
    "100.64.0.99",
    "100.100.100.99",
    "100.127.255.254",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "fd7a:115c:a1e0::dead",
    "fe80::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "::ffff:100.127.1.2",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
];
/// Names that resolve to such addresses.
const NAMES: [&str; 3] = ["169-254-169-254.example.com", "169-254-170-2.example.com", "100-127-1-2.example.com"];
/// Spellings that some resolvers take for an address.
const SPELLINGS: [&str; 4] = ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376"];

fn run(program: &str, arguments: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} (apt-get install nftables): {error}"));
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{program} {arguments:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Packets that left for one of the addresses so far.
fn leaked() -> u64 {
    let text = run("nft", &["list", "counter", "inet", "watch", "leaked"], "");
    let number = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a counter");
    number.parse().expect("a number")
}

/// The counter counts each kind of address: a packet past the daemon raises it.
fn the_counter_counts() {
    for (before, address) in (0..).zip(["100.127.1.2", "169.254.169.254", "fd7a:115c:a1e0::dead", "64:ff9b::a9fe:a9fe"])
    {
        assert_eq!(leaked(), before, "before {address}");
        let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let to = SocketAddr::new(address.parse().expect("an address"), 9);
        UdpSocket::bind(any).expect("a socket").send_to(b"out", to).expect("sent");
    }
    run("nft", &["reset", "counter", "inet", "watch", "leaked"], "");
    assert_eq!(leaked(), 0);
}

fn count_packets() {
    let _ = std::fs::write("/proc/sys/net/ipv6/conf/out/disable_ipv6", "0");
    run("ip", &["-6", "-batch", "-"], ROUTES);
    nft(RULES).expect("counts");
    the_counter_counts();
}

/// Address and port as HTTP writes them.
fn authority(host: &str) -> String {
    if host.contains(':') { format!("[{host}]:80") } else { format!("{host}:80") }
}

fn status(request: &str) -> String {
    let answer = String::from_utf8_lossy(&answer_to(request.as_bytes())).into_owned();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn no_packet_leaves_for_metadata_or_unknown_tailnet_addresses() {
    let scene = Scene::new();
    count_packets();
    let _names = NoNames::start().expect("a name server");
    let forwards: Vec<_> = (7000..).zip(ADDRESSES.iter().chain(&NAMES)).collect();
    let setting = forwards.iter().map(|(port, host)| format!("127.0.0.1:{port}={}", authority(host)));
    let setting = setting.collect::<Vec<_>>().join(",");
    let daemon = scene.daemon().env("TETHERD_FORWARDS", &setting).env("TETHERD_CONNECT_TIMEOUT", "2s");
    let daemon = start_ready(daemon);
    for host in ADDRESSES.iter().chain(&NAMES) {
        assert_eq!(reply_code(host, 80), 2, "{host} by SOCKS5");
        let authority = authority(host);
        let connect = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        assert_eq!(status(&connect), "403", "{host} by CONNECT");
        let absolute = format!("GET http://{authority}/latest/meta-data/ HTTP/1.1\r\nHost: web\r\n\r\n");
        assert_eq!(status(&absolute), "403", "{host} by absolute-form");
    }
    for spelling in SPELLINGS {
        assert!([2, 4].contains(&reply_code(spelling, 80)), "{spelling}");
    }
    for (port, host) in &forwards {
        let mut stream = TcpStream::connect(("127.0.0.1", *port)).expect("connects");
        stream.set_read_timeout(Some(READY)).expect("a timeout");
        assert_eq!(stream.read_to_end(&mut Vec::new()).expect("ends"), 0, "{host} by a forward");
    }
    by_datagrams(&daemon);
    assert_eq!(leaked(), 0, "{}\n{}", run("nft", &["list", "table", "inet", "watch"], ""), daemon.output());
}

#[test]
fn a_name_with_several_addresses_smuggles_none_in() {
    let scene = Scene::new();
    count_packets();
    let _names = NoNames::start().expect("a name server");
    let _server = Server::http(80).expect("server");
    let _daemon = scene.ready();
    let node = scene.web.addresses().0.to_string().replace('.', "-");
    for name in [format!("{node}--169-254-169-254.example.com"), format!("{node}--100-127-1-2.example.com")] {
        let stream = connect(&name, 80).expect("the node is reached by a name of others");
        assert_eq!(testbed::http::get(stream, "web", "/").expect("answers").text(), PAGE);
        // The node refuses, which makes who races all addresses try the next one.
        assert_eq!(reply_code(&name, 81), 5, "{name}");
    }
    assert_eq!(leaked(), 0, "{}", run("nft", &["list", "table", "inet", "watch"], ""));
}

/// Datagrams have no replies: that each was refused is in the log. An association of its own for each: what one
/// remembers, it does not log again.
fn by_datagrams(daemon: &testbed::Daemon) {
    for host in ADDRESSES.iter().chain(&NAMES) {
        let mut control = socks::open(SOCKS).expect("connects");
        socks::authenticate(&mut control, None).expect("greets");
        control.write_all(&socks::request(3, "0.0.0.0", 0)).expect("asks");
        let relay = socks::read_reply(&mut control).expect("is associated");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut datagram = socks::request(0, host, 53);
        datagram[..3].fill(0);
        datagram.extend(b"out");
        let before = daemon.stderr().matches("datagram not sent on").count();
        socket.send_to(&datagram, relay).expect("sent");
        let refused = || (daemon.stderr().matches("datagram not sent on").count() > before).then_some(());
        wait_until(&format!("the datagram to {host} is refused"), READY, refused)
            .unwrap_or_else(|error| panic!("{error}: {}", daemon.stderr()));
    }
}
