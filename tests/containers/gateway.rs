//! Tests a gateway of two containers, each replaced while clients connect.
//!
//! They stand behind one address, with docker/gateway/haproxy.cfg as it is. Clients go on connecting, and none of them
//! notices.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use testbed::daemon::SOCKS;
use testbed::image::repository;
use testbed::netns::Handle;
use testbed::process::Process;
use testbed::server::Server;
use testbed::{http, socks, wait_until};

use crate::scene::{READY, Scene};

/// While one container is replaced.
const CONNECTIONS: usize = 1_000;
const CLIENTS: usize = 4;

/// One of the two: its ports, since both share the test's network.
struct Place {
    name: &'static str,
    socks: u16,
    health: u16,
}

const PLACES: [Place; 2] =
    [Place { name: "first", socks: 1061, health: 9061 }, Place { name: "second", socks: 1062, health: 9062 }];

impl Place {
    fn run(&self, scene: &Scene) {
        let settings = [
            format!("--env=TETHERD_HOSTNAME={}", self.name),
            format!("--env=TETHERD_SOCKS_LISTEN=127.0.0.1:{}", self.socks),
            format!("--env=TETHERD_HEALTH_LISTEN=127.0.0.1:{}", self.health),
            "--env=TETHERD_SOCKS_USER=client".to_owned(),
            "--env=TETHERD_SOCKS_PASSWORD=secret".to_owned(),
        ];
        let key = format!("--env=TETHERD_AUTH_KEY={}", scene.key());
        scene.run_as(self.name, &key, &settings.each_ref().map(String::as_str));
        scene.engine.wait_healthy(self.name, READY).expect("is healthy");
    }

    /// How many connections the container has served so far, or 0 while it does not answer.
    fn served(&self) -> u64 {
        let ask = || {
            let health = SocketAddr::from((Ipv4Addr::LOCALHOST, self.health));
            let metrics = http::get(TcpStream::connect(health).ok()?, "localhost", "/metrics").ok()?.text();
            let line =
                |line: &str| line.strip_prefix("tetherd_connections_total")?.rsplit(' ').next()?.parse::<u64>().ok();
            Some(metrics.lines().filter_map(line).sum())
        };
        ask().unwrap_or(0)
    }

    fn wait_serving(&self) {
        wait_until("the balancer uses the container", READY, || (self.served() > 0).then_some(())).expect(self.name);
    }

    fn replace(&self, scene: &Scene) {
        scene.engine.docker(&["stop", self.name]).expect("stops");
        let state = &scene.engine.inspect(self.name).expect("is there")["State"];
        assert_eq!(state["ExitCode"], 0, "{}", scene.engine.logs(self.name));
        scene.engine.docker(&["rm", self.name]).expect("is removed");
        self.run(scene);
        self.wait_serving();
    }
}

fn haproxy() -> Process {
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-f").arg(repository("docker/gateway/haproxy.cfg")).env_clear().stdin(Stdio::null());
    command.env("LISTEN", SOCKS.to_string());
    for (place, [address, health]) in PLACES.iter().zip([["FIRST", "FIRST_HEALTH"], ["SECOND", "SECOND_HEALTH"]]) {
        command.env(address, format!("127.0.0.1:{}", place.socks)).env(health, place.health.to_string());
    }
    let haproxy = Process::spawn(&mut command).expect("apt-get install haproxy");
    wait_until("haproxy listens", READY, || TcpStream::connect(SOCKS).ok()).expect("haproxy");
    haproxy
}

/// One connection through the gateway: a few bytes there and back.
fn exchange() -> Result<(), String> {
    let mut stream = socks::connect(SOCKS, "web", 7, Some(("client", "secret"))).map_err(|error| error.to_string())?;
    let mut answer = [0; 5];
    stream.write_all(b"hello").and_then(|()| stream.read_exact(&mut answer)).map_err(|error| error.to_string())?;
    (&answer == b"hello").then_some(()).ok_or_else(|| format!("{answer:?}"))
}

/// Clients that connect again and again, until `act` is done and at least [`CONNECTIONS`] were made: how many, and the
/// errors.
fn while_clients_connect(act: impl FnOnce()) -> (usize, Vec<String>) {
    let (made, errors, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicBool::new(false));
    let namespace = Handle::current().expect("a namespace");
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                namespace.enter().expect("entered");
                while !done.load(Ordering::Relaxed) || made.load(Ordering::Relaxed) < CONNECTIONS {
                    if let Err(error) = exchange() {
                        errors.lock().expect("errors").push(error);
                    }
                    made.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _done = SetAtEnd(&done);
        act();
    });
    (made.into_inner(), errors.into_inner().expect("errors"))
}

/// Even when a check fails: the clients would go on for ever.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_connection_fails_while_each_container_of_a_gateway_is_replaced() {
    let scene = Scene::new();
    let _server = Server::echo(7).expect("server");
    PLACES.iter().for_each(|place| place.run(&scene));
    let _haproxy = haproxy();
    while_clients_connect(|| PLACES.iter().for_each(Place::wait_serving));
    for place in &PLACES {
        let (made, errors) = while_clients_connect(|| place.replace(&scene));
        eprintln!("{}: {} of {made} connections failed", place.name, errors.len());
        assert!(errors.is_empty(), "{} of {made} failed: {:?}", errors.len(), errors.first());
        assert!(made >= CONNECTIONS);
    }
}
