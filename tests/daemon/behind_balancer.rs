//! Clients behind a balancer: what its header makes of them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use testbed::server::Server;
use testbed::socks;
use testbed::wait::wait_until;

use crate::associations::{ARRIVES, Association, Echo, SILENCE};
use crate::proxy_protocol::{BALANCED, FORWARD, Introduced, balanced, line, named};
use crate::scene::{END, READY, Scene, command, start_ready};
use crate::tls_listeners::{authority, with_tls};
use crate::without_the_password::{GREETING, PASSWORD, WRONG_PASSWORD, open_connections, with_password};

const CREDENTIALS: Option<(&str, &str)> = Some(("app", PASSWORD));

/// The header of a client at this address, of a version that goes by the port.
fn header(source: &str, port: u16) -> Vec<u8> {
    let source = format!("{source}:{port}");
    if port.is_multiple_of(2) { line(&source) } else { named(&source, b"") }
}

/// How long it takes until a wrong password is refused.
fn guess(header: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut stream = Introduced::to(BALANCED, header);
    stream.write_all(WRONG_PASSWORD).expect("sent");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("answers");
    assert_eq!(answer, [5, 2, 1, 0xff]);
    begun.elapsed()
}

#[test]
fn behind_a_balancer_the_pause_after_a_guess_is_that_of_the_clients_own_address() {
    let scene = Scene::new();
    let _daemon = start_ready(balanced(&scene));
    let clients = [
        ("203.0.113.7", "203.0.113.7"),
        // One network of 64 bits is one source.
        ("[2001:db8:1:1::1]", "[2001:db8:1:1:2:3:4:5]"),
        ("127.0.0.1", "[::ffff:127.0.0.1]"),
    ];
    for (number, (source, again)) in clients.into_iter().enumerate() {
        let took: Vec<_> =
            (0..5).map(|port| guess(&header(if port % 2 == 0 { source } else { again }, port)).as_millis()).collect();
        assert!(took[0] < 300 && took[4] >= 1_500 && took.is_sorted(), "{number} {source}: {took:?}");
    }
    for other in ["203.0.113.8", "[2001:db8:1:2::1]", "127.0.0.2"] {
        assert!(guess(&header(other, 1)) < Duration::from_millis(500), "{other} has guessed once");
    }
    assert!(guess(b"PROXY UNKNOWN\r\n") < Duration::from_millis(500), "nobody guessed as the balancer");
}

#[test]
fn behind_a_balancer_a_nuisance_takes_no_place_of_another_address_and_silence_none_of_those_who_speak() {
    let scene = Scene::new();
    let _server = Server::echo(7).expect("server");
    let builder = balanced(&scene).env("TETHERD_MAX_CONNECTIONS", "24").env("TETHERD_HANDSHAKE_TIMEOUT", "30s");
    let _daemon = start_ready(builder);
    let open = |header: &[u8], words: &[u8]| {
        let mut stream = Introduced::to(BALANCED, header);
        stream.write_all(words).expect("sent");
        stream.stream
    };
    let honest = |number: u16| {
        let mut stream = open(&header("203.0.113.8", number), GREETING);
        stream.read_exact(&mut [0; 2]).expect("a method");
        stream
    };
    let finish = |mut stream: TcpStream| -> Result<(), socks::Error> {
        stream.write_all(b"\x01\x03app\x0dcorrect horse\x05\x01\x00\x03\x03web\x00\x07")?;
        stream.read_exact(&mut [0; 2])?;
        socks::read_reply(&mut stream).map(drop)
    };
    let guesses = |number: u16| (0..number).map(|port| open(&header("203.0.113.7", port), WRONG_PASSWORD)).collect();
    let silent = |number: u16| (0..number).map(|_| open(b"", b"")).collect();
    type Strangers<'a> = &'a dyn Fn(u16) -> Vec<TcpStream>;
    for (what, strangers) in [("guessing", &guesses as Strangers), ("silent", &silent)] {
        let known = strangers(9);
        let slow: Vec<_> = (0..6).map(honest).collect();
        // So that they may be displaced.
        sleep(Duration::from_millis(1_100));
        let strangers: Vec<_> = (0..3).map(|_| strangers(40)).collect();
        let begun = Instant::now();
        let late = finish(honest(6));
        assert!(late.is_ok() && begun.elapsed() < Duration::from_secs(5), "{what}: {late:?} {:?}", begun.elapsed());
        let lost: Vec<_> = slow.into_iter().map(finish).filter(Result::is_err).collect();
        assert!(lost.is_empty(), "{what}: {} of 6 lost their place: {lost:?}", lost.len());
        drop((known, strangers));
        sleep(Duration::from_millis(300));
    }
}

/// Whether a client without TLS, which a balancer at `from` brings, is let in.
fn plain(proxy: SocketAddr, header: &[u8]) -> bool {
    socks::handshake(&mut Introduced::to(proxy, header), "web", 7, CREDENTIALS).is_ok()
}

#[test]
fn behind_a_balancer_who_claims_to_be_on_loopback_gets_no_right_of_it() {
    let scene = Scene::new();
    let directory = authority();
    let _server = Server::echo(7).expect("server");
    let builder = with_tls(with_password(&scene), directory.path());
    let builder = builder.env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1055,0.0.0.0:1056");
    let _daemon = start_ready(builder.env("TETHERD_PROXY_PROTOCOL", "0.0.0.0:1056"));
    let local = SocketAddr::from(([127, 0, 0, 1], BALANCED.port()));
    for claim in [line("127.0.0.1:1"), line("[::1]:1"), named("127.0.0.1:1", b""), named("[::ffff:127.0.0.1]:1", b"")] {
        assert!(!plain(BALANCED, &claim), "{}", claim.escape_ascii());
        assert!(!plain(local, &claim), "a balancer on this machine: {}", claim.escape_ascii());
    }
    let own = b"PROXY UNKNOWN\r\n";
    assert!(!plain(local, &line("203.0.113.7:1")) && !plain(BALANCED, own));
    assert!(plain(local, own), "the balancer itself is a program of this machine, and gives the password");
}

#[test]
fn behind_a_balancer_nobody_reaches_the_loopback_of_this_machine() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let builder = with_password(&scene).env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1055,127.0.0.1:1056");
    let _daemon = start_ready(builder.env("TETHERD_PROXY_PROTOCOL", "127.0.0.1:1056"));
    let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    assert!(socks::connect(local(1055), "127.0.0.1", 7, CREDENTIALS).is_ok());
    for header in [line("127.0.0.1:1"), named("127.0.0.1:1", b""), b"PROXY UNKNOWN\r\n".to_vec()] {
        let connect = |host: &str| socks::handshake(&mut Introduced::to(local(1056), &header), host, 7, CREDENTIALS);
        assert!(connect("web").is_ok(), "{}", header.escape_ascii());
        let error = connect("127.0.0.1").expect_err("is not for clients of the network");
        assert_eq!(error.reply(), Some(2), "{}", header.escape_ascii());
    }
}

#[test]
fn behind_a_balancer_datagrams_come_from_where_the_header_says() {
    let scene = Scene::new();
    let _echo = Echo::on(&["127.0.0.1:53"]);
    let builder = scene.daemon().env("TETHERD_SOCKS_LISTEN", "127.0.0.1:1056");
    let builder = builder.env("TETHERD_PROXY_PROTOCOL", "127.0.0.1:1056").env("TETHERD_ALLOW_OPEN_PROXY", "true");
    let _daemon = start_ready(builder);
    for (header, from, is_served) in [
        (line("127.0.0.5:1"), "127.0.0.5:0", true),
        (line("127.0.0.5:1"), "127.0.0.1:0", false),
        (named("[::ffff:127.0.0.5]:1", b""), "127.0.0.5:0", true),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1:0", true),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.5:0", false),
    ] {
        let mut control = socks::open(([127, 0, 0, 1], 1056).into()).expect("connects");
        control.write_all(&header).expect("sent");
        let socket = UdpSocket::bind(from).expect("a port");
        let association = Association::over(control, socket, "0.0.0.0:0".parse().expect("an address"));
        association.send("web", 53, b"hello");
        let back = association.receive(if is_served { ARRIVES } else { SILENCE });
        assert_eq!(back.is_some(), is_served, "{from} behind {}", header.escape_ascii());
    }
}

#[test]
fn behind_a_balancer_clients_are_drained_as_others_are() {
    let scene = Scene::new();
    let _server = Server::echo(7).expect("server");
    let mut daemon = start_ready(balanced(&scene));
    let mut running = Introduced::to(FORWARD, &line("203.0.113.7:1"));
    running.write_all(b"hello").and_then(|()| running.read_exact(&mut [0; 5])).expect("comes back");
    let begun = [&b""[..], b"PROXY TCP4 203", &line("203.0.113.7:2")].map(|bytes| {
        let mut stream = socks::open(BALANCED).expect("connects");
        stream.write_all(bytes).expect("sent");
        stream
    });
    wait_until("all are there", READY, || (open_connections(&daemon) == 4).then_some(())).expect("are accepted");
    // Others wait in the backlog when the daemon hears of the stop.
    daemon.signal(Signal::SIGSTOP).expect("stopped");
    let late: Vec<_> = (0..5).map(|port| Introduced::to(BALANCED, &header("203.0.113.9", port))).collect();
    daemon.terminate().expect("SIGTERM");
    daemon.signal(Signal::SIGCONT).expect("goes on");
    for mut stream in late {
        socks::handshake(&mut stream, "web", 7, CREDENTIALS).expect("is served");
    }
    let told = Instant::now();
    for mut stream in begun {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
    running.write_all(b"still").and_then(|()| running.read_exact(&mut [0; 5])).expect("runs on");
    drop(running);
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
}

#[test]
fn proxy_protocol_settings_that_cannot_work_are_refused_by_name_and_programs_are_led_elsewhere() {
    let (setting, listen, forwards) = ("TETHERD_PROXY_PROTOCOL", "TETHERD_SOCKS_LISTEN", "TETHERD_FORWARDS");
    let password = [("TETHERD_SOCKS_USER", "app"), ("TETHERD_SOCKS_PASSWORD", PASSWORD)];
    let forward = (forwards, "127.0.0.1:5432=db:5432");
    let run = |question: &str, settings: &[(&str, &str)]| {
        let output = command(&[question]).envs(settings.iter().copied()).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        (output.status.code(), text.into_owned())
    };
    for (settings, problem) in [
        (
            &[(setting, "0.0.0.0:1055")][..],
            "proxy_protocol (from TETHERD_PROXY_PROTOCOL) names 0.0.0.0:1055, where nothing listens",
        ),
        (&[(setting, "127.0.0.1:9002")], "names 127.0.0.1:9002, where nothing listens"),
        (&[(setting, "unix:/run/other.sock")], "names unix:/run/other.sock, where nothing listens"),
        (&[(setting, "127.0.0.1:5432,db:5432"), forward], "is \"db:5432\", expected an IP address and a port"),
        (
            &[(setting, "127.0.0.1:1055")],
            "socks_listen (from default) 127.0.0.1:1055 can be reached by others by way of a balancer",
        ),
        (&[(setting, "127.0.0.1:5432"), forward], "127.0.0.1:5432 can be reached by others by way of a balancer"),
    ] {
        let (code, text) = run("check", settings);
        assert!(code == Some(78) && text.contains(problem), "{settings:?}: {text}");
    }
    let both = (listen, "unix:/run/p.sock,:1055,127.0.0.1:1056");
    for behind in ["unix:/run/p.sock,[::]:1055", "*:1055"] {
        let settings = [&password[..], &[both, (setting, behind)]].concat();
        assert_eq!(run("check", &settings).0, Some(0), "{behind}");
        let (code, text) = run("env", &settings);
        assert!(code == Some(0) && text.contains("@127.0.0.1:1056"), "{behind}: {text}");
    }
    let (code, text) = run("env", &[&password[..], &[(setting, "127.0.0.1:1055")]].concat());
    assert!(code == Some(78) && text.contains("no TCP address that is not in proxy_protocol"), "{text}");
}
