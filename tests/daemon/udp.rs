//! UDP ASSOCIATE: datagrams keep their boundaries, only the associating client is served, and no datagram goes where no
//! connection may.

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::daemon::SOCKS;
use testbed::server::pattern;
use testbed::socks;
use testbed::wait::wait_until;

use crate::scene::{READY, Scene, reply_code, start_ready};

/// For a datagram that comes.
const ARRIVES: Duration = Duration::from_secs(10);
/// For one that must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// Sends every datagram back to where it came from, on the namespace's loopback.
struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn on(address: &str) -> Self {
        let socket = UdpSocket::bind(address).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 65_535];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// A client's association.
struct Association {
    /// Ends it when dropped.
    _control: TcpStream,
    socket: UdpSocket,
    relay: SocketAddr,
}

impl Association {
    fn open() -> Self {
        let mut control = socks::open(SOCKS).expect("connects");
        socks::authenticate(&mut control, None).expect("greets");
        control.write_all(&socks::request(3, "0.0.0.0", 0)).expect("asks");
        let relay = socks::read_reply(&mut control).expect("is associated");
        Self { _control: control, socket: UdpSocket::bind("127.0.0.1:0").expect("a port"), relay }
    }

    fn send(&self, host: &str, port: u16, payload: &[u8]) {
        self.send_as(0, host, port, payload);
    }

    /// The header of a datagram is that of a request, but for its first three bytes (RFC 1928, section 7).
    fn send_as(&self, fragment: u8, host: &str, port: u16, payload: &[u8]) {
        let mut datagram = socks::request(0, host, port);
        datagram[..3].copy_from_slice(&[0, 0, fragment]);
        datagram.extend_from_slice(payload);
        self.socket.send_to(&datagram, self.relay).expect("sent");
    }

    /// The payload of the next datagram; `None` when none comes.
    fn receive(&self, within: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(within)).expect("a timeout");
        let mut buffer = [0; 65_535];
        let length = self.socket.recv(&mut buffer).ok()?;
        let header = match buffer[3] {
            1 => 10,
            3 => 7 + usize::from(buffer[4]),
            _ => 22,
        };
        Some(buffer[header..length].to_vec())
    }
}

#[test]
fn udp_two_hundred_datagrams_of_1_to_1200_bytes_come_back_whole() {
    let scene = Scene::new();
    let _echo = Echo::on("127.0.0.1:53");
    let _daemon = scene.ready();
    let association = Association::open();
    for number in 0..200 {
        let payload = pattern(1 + number * 1199 / 199);
        association.send(if number % 2 == 0 { "web" } else { "web.tail.test" }, 53, &payload);
        assert!(association.receive(ARRIVES).expect("comes back") == payload, "datagram {number}");
    }
    let (v4, _) = scene.web.addresses();
    association.send(&v4.to_string(), 53, b"by address");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"by address"[..]));
    association.send("127.0.0.1", 53, b"outside");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"outside"[..]));
}

#[test]
fn udp_no_datagram_goes_where_no_connection_may() {
    let scene = Scene::new();
    let _echo = Echo::on("127.0.0.1:53");
    let daemon = start_ready(scene.daemon().env("TETHERD_DENY", "127.0.0.0/8,::1"));
    let association = Association::open();
    for host in ["127.0.0.1", "localhost", "169.254.169.254", "100.127.1.2"] {
        association.send(host, 53, b"no");
        assert_eq!(association.receive(SILENCE), None, "{host}");
    }
    association.send("web", 53, b"yes");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"yes"[..]));
    let said = daemon.stderr();
    let refused = |line: &str| line.contains("datagram not sent on") && line.contains("target=169.254.169.254:53");
    assert!(said.lines().any(|line| refused(line) && line.contains("not allowed")), "{said}");
}

#[test]
fn udp_fragments_and_datagrams_of_others_are_dropped() {
    let scene = Scene::new();
    let _echo = Echo::on("127.0.0.1:53");
    let _daemon = scene.ready();
    let association = Association::open();
    association.send_as(1, "web", 53, b"a fragment");
    assert_eq!(association.receive(SILENCE), None);
    association.send("web", 53, b"mine");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"mine"[..]));
    let other = Association { socket: UdpSocket::bind("127.0.0.1:0").expect("a port"), ..Association::open() };
    let other = Association { relay: association.relay, ..other };
    other.send("web", 53, b"not mine");
    assert_eq!(other.receive(SILENCE), None);
    assert_eq!(association.receive(SILENCE), None);
}

#[test]
fn udp_an_association_survives_a_restart_of_tailscaled() {
    let scene = Scene::new();
    let _echo = Echo::on("127.0.0.1:53");
    let daemon = scene.ready();
    let association = Association::open();
    association.send("web", 53, b"before");
    assert_eq!(association.receive(ARRIVES).as_deref(), Some(&b"before"[..]));
    kill(Pid::from_raw(daemon.tailscaled_pid().expect("tailscaled runs")), Signal::SIGKILL).expect("killed");
    wait_until("datagrams come back again", READY, || {
        association.send("web", 53, b"after");
        association.receive(SILENCE).filter(|payload| payload == b"after")
    })
    .expect("survives");
}

#[test]
fn udp_is_refused_where_it_is_off() {
    let scene = Scene::new();
    let _daemon = start_ready(scene.daemon().env("TETHERD_UDP", "false"));
    let mut control = socks::open(SOCKS).expect("connects");
    socks::authenticate(&mut control, None).expect("greets");
    control.write_all(&socks::request(3, "0.0.0.0", 0)).expect("asks");
    assert_eq!(socks::read_reply(&mut control).expect_err("is refused").reply(), Some(7));
    assert_eq!(reply_code("web", 9), 5, "TCP is served all the same");
}
