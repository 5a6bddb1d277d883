//! Tests `dns_listen` and UDP `forwards` across a freeze, a stop, a crash.
//!
//! The name server of a zone and the target of the forward are on another node, so that both go by the path that breaks.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use testbed::daemon::Daemon;
use testbed::dnsmasq;
use testbed::flows::black_hole;
use testbed::process::Process;
use testbed::server::Server;
use testbed::wait::wait_until;

use crate::associations::{ARRIVES, Association, Echo, SILENCE};
use crate::dns_scene::{DNS, DnsScene, assert_dig, dig};
use crate::frozen::{FREEZE, freeze, thaw, tree};
use crate::scene::{CONTROL_PORT, END, OUTSIDE, READY, RELAY_ONLY, connect, start_ready};
use crate::udp_forwards::{answer, open, source};

/// The first node of a tailnet.
const WEB: &str = "100.64.0.1";
const FORWARDS: &str = "udp:127.0.0.1:5353=web:7";
/// Sources that have a flow at the same time.
const SOURCES: usize = 8;
/// Time that a program gives a name server before it asks again (resolv.conf(5)).
const ONE_TRY: Duration = Duration::from_secs(5);

/// A tailnet with the zone `far.test`, whose name server `web` is, and an echo on `web`.
struct Far {
    scene: DnsScene,
    _echo: Echo,
    _name_server: Process,
}

impl Far {
    fn new() -> Self {
        let dns = json!({ "nameservers": { "global": [], "split": { "far.test": [WEB] } }, "search_domains": [] });
        let scene = DnsScene::new(dns);
        assert_eq!(scene.web.addresses().0.to_string(), WEB);
        let records = ["--host-record=db.far.test,192.0.2.7".to_owned(), "--local=/far.test/".to_owned()];
        let name_server = dnsmasq::start("127.0.0.1", records).expect("dnsmasq starts");
        Self { scene, _echo: Echo::on(&["127.0.0.1:7"]), _name_server: name_server }
    }

    fn daemon(&self, settings: &[(&str, &str)]) -> Daemon {
        let daemon = self.scene.daemon().env("TETHERD_FORWARDS", FORWARDS);
        start_ready(settings.iter().fold(daemon, |daemon, (name, value)| daemon.env(name, value)))
    }
}

fn sources() -> Vec<UdpSocket> {
    (0..SOURCES).map(|_| source()).collect()
}

/// Checks that names of the tailnet, of its zone and of others are answered, over UDP and TCP.
fn assert_names() {
    for way in ["+notcp", "+tcp"] {
        for (name, address) in [("web.tail.test", WEB), ("db.far.test", "192.0.2.7"), ("public.example", OUTSIDE)] {
            assert_dig(&format!("{way} {name} A"), "NOERROR", &[address]);
        }
    }
}

/// Checks that each source gets its own answers, the first time within `within`.
fn assert_datagrams(sources: &[UdpSocket], within: Duration) {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    for source in sources {
        // Answers to what was sent again come later, and are to another one.
        let payload = ASKED.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let echoed = || answer(source, &payload, SILENCE).filter(|back| *back == payload);
        wait_until("the datagram comes back", within, echoed).expect("comes back");
    }
}

fn descriptors(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("is there").count()
}

#[test]
fn interrupted_by_a_freeze_names_and_datagrams_come_back() {
    let far = Far::new();
    let daemon = far.daemon(&[RELAY_ONLY, ("TETHERD_IDLE_TIMEOUT", "60s")]);
    let sources = sources();
    assert_names();
    assert_datagrams(&sources, READY);

    let frozen = tree(&daemon);
    freeze(&frozen);
    assert!(black_hole(frozen[0], CONTROL_PORT).expect("flows") >= 1);
    thread::sleep(FREEZE);
    thaw(&frozen);
    let thawed = Instant::now();
    assert_dig("+notcp db.far.test A", "NOERROR", &["192.0.2.7"]);
    println!("the first name after the thaw: {} ms", thawed.elapsed().as_millis());
    assert_datagrams(&sources, ONE_TRY);
    println!("datagrams of {SOURCES} sources: {} ms", thawed.elapsed().as_millis());
    assert_names();
    assert_eq!(daemon.tailscaled_pid(), Some(frozen[0]), "tailscaled needed no restart");
    assert_eq!(open(&daemon), SOURCES as f64, "each source has the association that it had");
}

#[test]
fn interrupted_by_a_freeze_longer_than_the_idle_timeout_no_datagram_is_lost() {
    let far = Far::new();
    let daemon = far.daemon(&[("TETHERD_IDLE_TIMEOUT", "3s")]);
    for _ in 0..3 {
        let (sources, clients) = (sources(), [(); SOURCES].map(|()| Association::open()));
        assert_datagrams(&sources, READY);
        freeze(&[daemon.pid()]);
        for (source, client) in sources.iter().zip(&clients) {
            source.send(b"while frozen").expect("sent");
            client.send(WEB, 7, b"while frozen");
        }
        thread::sleep(Duration::from_millis(3500));
        thaw(&[daemon.pid()]);
        for client in &clients {
            assert_eq!(client.receive(ARRIVES).as_deref(), Some(&b"while frozen"[..]), "by SOCKS5");
        }
        for source in &sources {
            source.set_read_timeout(Some(ARRIVES)).expect("set");
            let mut payload = [0; 64];
            let arrived = std::iter::repeat_with(|| source.recv(&mut payload).map(|length| payload[..length].to_vec()))
                .map(|came| came.expect("what was sent while the daemon was frozen arrives"))
                .any(|came| came == b"while frozen");
            assert!(arrived);
        }
    }
    wait_until("all flows have ended", READY, || (open(&daemon) == 0.0).then_some(())).expect("have ended");
}

#[test]
fn interrupted_by_the_end_of_tailscaled_the_same_ports_answer_and_nothing_is_left_open() {
    let far = Far::new();
    let daemon = far.daemon(&[("TETHERD_IDLE_TIMEOUT", "20s")]);
    let sources = sources();
    assert_names();
    assert_datagrams(&sources, READY);
    let before = descriptors(&daemon);
    for signal in [Signal::SIGKILL, Signal::SIGKILL, Signal::SIGSTOP] {
        // A question that has begun when tailscaled ends.
        let mut begun = TcpStream::connect(DNS).expect("connects");
        begun.write_all(&[0, 31]).expect("sent");
        let tailscaled = daemon.tailscaled_pid().expect("runs");
        kill(Pid::from_raw(tailscaled), signal).expect("is signalled");
        if signal == Signal::SIGKILL {
            begun.write_all(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03web\x04tail\x04test\0\0\x01\0\x01").expect("sent");
            begun.set_read_timeout(Some(ONE_TRY)).expect("set");
            let mut head = [0; 6];
            begun.read_exact(&mut head).expect("is answered");
            assert_eq!((&head[2..4], head[5] & 0x0f), (&b"\x12\x34"[..], 0), "NOERROR");
        } else {
            let restarted = || daemon.tailscaled_pid().filter(|pid| *pid != tailscaled);
            wait_until("tailscaled is replaced", READY, restarted).expect("is replaced");
            wait_until("names come back", READY, || (dig("web.tail.test A").records == [WEB]).then_some(()))
                .expect("come back");
        }
        assert_names();
        assert_datagrams(&sources, READY);
        assert_eq!(open(&daemon), SOURCES as f64, "after {signal}");
    }
    let after = || (descriptors(&daemon) <= before + 2).then_some(());
    wait_until("no descriptor is left", READY, after).unwrap_or_else(|error| panic!("{error}: {before} before"));
    wait_until("all flows have ended", READY, || (open(&daemon) == 0.0).then_some(())).expect("have ended");
    let after = || (descriptors(&daemon) <= before - SOURCES).then_some(());
    wait_until("with them their descriptors have gone", READY, after)
        .unwrap_or_else(|error| panic!("{error}: {} of {before}", descriptors(&daemon)));
}

#[test]
fn interrupted_by_a_stop_names_are_answered_until_the_last_connection_has_ended() {
    let far = Far::new();
    let _server = Server::echo(90).expect("server");
    let mut daemon = far.daemon(&[("TETHERD_DRAIN_TIMEOUT", "30s")]);
    let sources = sources();
    assert_datagrams(&sources, READY);
    let running = connect("web", 90).expect("connects");
    daemon.terminate().expect("SIGTERM");
    wait_until("draining", READY, || daemon.readyz().ok().filter(|(status, _)| *status == 503)).expect("drains");
    assert_names();
    wait_until("datagrams are carried no more", READY, || (open(&daemon) == 0.0).then_some(())).expect("are not");
    sources[0].set_read_timeout(Some(ARRIVES)).expect("set");
    let refused = sources[0].send(b"late").and_then(|_| sources[0].recv(&mut [0; 8]));
    assert!(refused.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused), "the client is told");

    // One that nobody will answer does not hold the end up.
    let mut waiting = TcpStream::connect(DNS).expect("connects");
    waiting.write_all(&[0, 31, 0x12]).expect("sent");
    drop(running);
    let asked = Instant::now();
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(TcpStream::connect(DNS).is_err(), "nobody listens");
    UdpSocket::bind(DNS).expect("the port is free");
}
