//! The socket of tailscaled's LocalAPI is removed.
//!
//! As by a program that cleans temporary directories: nobody waits longer than `connect_timeout`, readiness tells, and the
//! daemon heals.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use testbed::daemon::Daemon;
use testbed::server::Server;
use testbed::wait::wait_until;

use crate::scene::{Scene, connect, start_ready};

/// Far more than a look for the socket and a start of tailscaled take: some 3 s.
const HEALED: Duration = Duration::from_secs(15);

/// The socket, as tailscaled was told of it.
pub fn socket(daemon: &Daemon) -> PathBuf {
    let pid = daemon.tailscaled_pid().expect("tailscaled runs");
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).expect("is read");
    let arguments = String::from_utf8(arguments).expect("UTF-8");
    arguments.split('\0').find_map(|argument| argument.strip_prefix("--socket=")).expect("a socket").into()
}

#[test]
fn local_api_whose_socket_is_removed_heals_and_keeps_nobody_waiting() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    // With a rule about names the tailnet's domain is asked for.
    let builder = scene.daemon().env("TETHERD_CONNECT_TIMEOUT", "4s").env("TETHERD_DENY", "denied.example.com");
    let mut daemon = start_ready(builder);
    let before = daemon.tailscaled_pid();
    fs::remove_file(socket(&daemon)).expect("removed");
    let asked = Instant::now();
    // One that was known, one that is asked for, and one that nobody has.
    let clients = ["web", "web.tail.test", "nobody.example.com", "8.8.8.8"].map(|host| {
        std::thread::spawn(move || {
            let outcome = connect(host, 7).map(drop);
            (host, asked.elapsed(), outcome)
        })
    });
    wait_until("is not ready", HEALED, || daemon.readyz().ok().filter(|(status, _)| *status == 503))
        .unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    for client in clients {
        let (host, took, outcome) = client.join().expect("client");
        println!("{host}: {outcome:?} after {took:?}");
        assert!(took < Duration::from_secs(6), "{host}: {outcome:?} after {took:?}");
    }
    daemon.wait_ready(HEALED).expect("is ready again");
    connect("web.tail.test", 7).expect("connects");
    assert_ne!(daemon.tailscaled_pid(), before, "tailscaled was started again");
    assert!(daemon.output().contains("socket"), "the log says why: {}", daemon.output());
}
