//! Tests `/metrics`: each count moves when what it counts happens.
//!
//! Each count is there, and no client can add labels.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::daemon::{Daemon, HEALTH, SOCKS};
use testbed::server::{PAGE, Server};
use testbed::socks;
use testbed::wait::wait_until;

use crate::scene::{READY, Scene, connect, reply_code, start_ready};

/// Samples by their name with labels.
pub type Samples = BTreeMap<String, f64>;

pub fn metrics(daemon: &Daemon) -> Samples {
    let answer = daemon.http_get("/metrics").expect("answers");
    assert_eq!(answer.head.status, 200);
    assert_eq!(answer.head.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no number: {line}")))
        })
        .collect()
}

fn value(samples: &Samples, name: &str) -> f64 {
    *samples.get(name).unwrap_or_else(|| panic!("{name} is not in {samples:#?}"))
}

fn asked(protocol: &str, outcome: &str) -> String {
    format!("tetherd_connections_total{{protocol=\"{protocol}\",outcome=\"{outcome}\"}}")
}

/// Waits until the sample has this value: a connection is counted by the daemon's side of it.
fn await_value(daemon: &Daemon, name: &str, wanted: f64) {
    wait_until(name, Duration::from_secs(10), || metrics(daemon).get(name).filter(|value| **value == wanted).copied())
        .unwrap_or_else(|error| panic!("{error}: it is {:?}, not {wanted}", metrics(daemon).get(name)));
}

#[test]
fn metrics_tell_the_phase_the_start_and_the_restarts() {
    let scene = Scene::new();
    let mut daemon = scene.daemon().start().expect("starts");
    daemon.wait_ready(READY).expect("ready");
    let samples = metrics(&daemon);
    assert_eq!(value(&samples, "tetherd_phase{phase=\"Ready\"}"), 1.0);
    assert_eq!(value(&samples, "tetherd_phase{phase=\"Starting\"}"), 0.0);
    let time = value(&samples, "tetherd_time_to_ready_seconds");
    assert!(time > 0.0 && time < READY.as_secs_f64(), "{time}");
    assert_eq!(value(&samples, "tetherd_tailscaled_restarts_total"), 0.0);
    assert!(value(&samples, "tetherd_connections_limit") > 1.0);
    let version = format!("tetherd_build_info{{version=\"{}\",tailscaled=\"", env!("CARGO_PKG_VERSION"));
    assert!(samples.keys().any(|name| name.starts_with(&version)), "{samples:#?}");
    assert!(samples.keys().any(|name| name.starts_with("tailscaled_inbound_bytes_total")), "{samples:#?}");

    kill(Pid::from_raw(daemon.tailscaled_pid().expect("runs")), Signal::SIGKILL).expect("killed");
    await_value(&daemon, "tetherd_tailscaled_restarts_total", 1.0);
    daemon.wait_ready(READY).expect("ready again");
}

#[test]
fn metrics_count_connections_bytes_and_refusals() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let _echo = Server::echo(7).expect("server");
    let settings = [("TETHERD_FORWARDS", "127.0.0.1:8080=web:80"), ("TETHERD_DENY", "web:25")];
    let builder = settings.iter().fold(scene.daemon(), |builder, (name, value)| builder.env(name, value));
    let daemon = start_ready(builder);

    let mut echo = connect("web", 7).expect("connects");
    echo.write_all(&[b'x'; 1000]).expect("sent");
    echo.read_exact(&mut [0; 1000]).expect("comes back");
    await_value(&daemon, "tetherd_relayed_bytes_total{direction=\"sent\"}", 1000.0);
    await_value(&daemon, "tetherd_relayed_bytes_total{direction=\"received\"}", 1000.0);
    await_value(&daemon, "tetherd_connections_open", 1.0);

    let forwarded = TcpStream::connect(("127.0.0.1", 8080)).expect("connects");
    assert_eq!(testbed::http::get(forwarded, "web", "/").expect("answers").text(), PAGE);
    let proxied = TcpStream::connect(SOCKS).expect("connects");
    assert_eq!(testbed::http::get(proxied, "web", "http://web/").expect("answers").text(), PAGE);
    assert_eq!(reply_code("web", 25), 2);
    assert_eq!(reply_code("web", 81), 5);
    TcpStream::connect(SOCKS).expect("connects").write_all(b"\0nonsense").expect("sent");

    for (protocol, outcome, times) in [
        ("socks5", "connected", 1.0),
        ("forward", "connected", 1.0),
        ("http", "connected", 1.0),
        ("socks5", "policy", 1.0),
        ("socks5", "refused", 1.0),
        ("unknown", "malformed", 1.0),
    ] {
        await_value(&daemon, &asked(protocol, outcome), times);
    }
    await_value(&daemon, "tetherd_connections_open", 1.0);
    drop(echo);
    let samples = metrics(&daemon);
    assert_eq!(value(&samples, "tetherd_refusals_total{by=\"policy\"}"), 1.0);
    assert_eq!(value(&samples, "tetherd_refusals_total{by=\"protocol\"}"), 1.0);
    assert_eq!(value(&samples, "tetherd_connections_accepted_total"), 6.0);
    assert_eq!(value(&samples, "tetherd_dial_duration_seconds_count{path=\"tailnet\"}"), 3.0);
    let page = 1000.0 + 2.0 * PAGE.len() as f64;
    let received = value(&samples, "tetherd_relayed_bytes_total{direction=\"received\"}");
    assert!(received >= page, "the HTTP bodies, too: {received} of {page}");
}

#[test]
fn metrics_count_associations_and_direct_dials() {
    let scene = Scene::new();
    let server = Server::http(0).expect("server");
    let daemon = scene.ready();
    let mut control = socks::open(SOCKS).expect("connects");
    socks::authenticate(&mut control, None).expect("is let in");
    control.write_all(&socks::request(3, "0.0.0.0", 0)).expect("sent");
    socks::read_reply(&mut control).expect("associated");
    await_value(&daemon, "tetherd_udp_associations_open", 1.0);
    await_value(&daemon, &asked("socks5_udp", "connected"), 1.0);
    drop(control);
    await_value(&daemon, "tetherd_udp_associations_open", 0.0);
    drop(connect("127.0.0.1", server.port()).expect("connects"));
    await_value(&daemon, "tetherd_dial_duration_seconds_count{path=\"direct\"}", 1.0);
}

#[test]
fn clients_cannot_make_the_metrics_grow() {
    let scene = Scene::new();
    let daemon = scene.ready();
    let own = || metrics(&daemon).into_keys().filter(|name| name.starts_with("tetherd_")).collect::<BTreeSet<_>>();
    reply_code("web", 999);
    TcpStream::connect(SOCKS).expect("connects").write_all(b"\0").expect("sent");
    await_value(&daemon, &asked("unknown", "malformed"), 1.0);
    let series = own();
    for number in 1000..1050_u16 {
        reply_code("web", number);
        let mut odd = TcpStream::connect(SOCKS).expect("connects");
        odd.write_all(&[0, number as u8]).expect("sent");
    }
    await_value(&daemon, &asked("unknown", "malformed"), 51.0);
    assert_eq!(own(), series);
}

#[test]
fn openmetrics_is_served_to_who_asks_for_it() {
    let scene = Scene::new();
    let _daemon = scene.ready();
    let mut stream = TcpStream::connect(HEALTH).expect("connects");
    let request = "GET /metrics HTTP/1.0\r\nHost: app\r\nAccept: application/openmetrics-text; version=1.0.0\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.contains("# TYPE tetherd_connections counter\n"), "{body}");
    assert!(body.contains("# TYPE tailscaled_inbound_bytes counter\n"), "{body}");
    assert!(body.ends_with("# EOF\n") && body.matches("# EOF").count() == 1, "{body}");
}
