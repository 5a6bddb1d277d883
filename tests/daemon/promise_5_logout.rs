//! Promise 5: the node is logged out.
//!
//! Also where the control server is far away or busy.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use testbed::admin::KeyOptions;
use testbed::daemon::Daemon;
use testbed::wait::wait_until;
use testbed::{black_hole, delay, http};

use crate::scene::{CONTROL_PORT, END, READY, Scene, binary, start_ready};

/// Of a control server on another continent, over a slow line.
const ROUND_TRIP: Duration = Duration::from_millis(300);

/// Daemons that stop at once.
const MANY: usize = 20;
/// Each has health ports of its own, from here on.
const FIRST_HEALTH: usize = 9100;

/// For a stop whose logout is pointless.
const SOON: Duration = Duration::from_secs(4);

#[test]
fn promise_5_a_control_server_that_is_far_away_hears_of_the_logout() {
    let scene = Scene::new();
    let far = delay::start(([127, 0, 0, 1], CONTROL_PORT).into(), ROUND_TRIP).expect("a relay");
    let mut daemon = start_ready(scene.daemon().env("TETHERD_CONTROL_URL", &format!("https://{far}")));
    daemon.terminate().expect("SIGTERM");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    assert!(scene.tailnet.node("app").expect("nodes").is_none(), "the node stays: {}", daemon.output());
}

#[test]
fn promise_5_many_daemons_that_stop_at_once_are_all_logged_out() {
    let scene = Scene::new();
    let key = scene.tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("a key");
    let far = delay::start(([127, 0, 0, 1], CONTROL_PORT).into(), ROUND_TRIP / 3).expect("a relay");
    let start = |number: usize| {
        Daemon::builder(binary())
            .env("TETHERD_CONTROL_URL", &format!("https://{far}"))
            .env("TETHERD_CA_FILE", &scene.tailnet.ca_file().to_string_lossy())
            .env("TETHERD_AUTH_KEY", &key)
            .env("TETHERD_HOSTNAME", &format!("many-{number}"))
            .env("TETHERD_SOCKS_LISTEN", "127.0.0.1:0")
            .env("TETHERD_HEALTH_LISTEN", &format!("127.0.0.1:{}", FIRST_HEALTH + number))
            .start()
            .expect("starts")
    };
    let mut daemons: Vec<_> = (0..MANY).map(start).collect();
    for (number, daemon) in daemons.iter().enumerate() {
        let ready = || {
            let stream = TcpStream::connect(("127.0.0.1", (FIRST_HEALTH + number) as u16)).ok()?;
            http::get(stream, "localhost", "/readyz").ok().filter(|answer| answer.head.status == 200)
        };
        wait_until("ready", 3 * READY, ready).unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    }
    daemons.iter().for_each(|daemon| daemon.terminate().expect("SIGTERM"));
    for daemon in &mut daemons {
        assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    }
    let stays = |number: &usize| scene.tailnet.node(&format!("many-{number}")).expect("nodes").is_some();
    let left: Vec<_> = (0..MANY).filter(stays).collect();
    let warned = |number: &usize| daemons[*number].output().contains("stays in the tailnet");
    assert!(left.is_empty(), "{} of {MANY} stay, {} warn", left.len(), left.iter().filter(|n| warned(n)).count());
}

#[test]
fn promise_5_a_login_that_is_under_way_far_away_leaves_no_node() {
    let scene = Scene::new();
    let far = delay::start(([127, 0, 0, 1], CONTROL_PORT).into(), ROUND_TRIP).expect("a relay");
    for moment in [600, 1200, 1800, 2400] {
        let mut daemon =
            scene.daemon().env("TETHERD_CONTROL_URL", &format!("https://{far}")).start().expect("the daemon starts");
        std::thread::sleep(Duration::from_millis(moment));
        daemon.terminate().expect("SIGTERM");
        assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
        // What was on its way arrives.
        std::thread::sleep(3 * ROUND_TRIP);
        assert!(scene.tailnet.node("app").expect("nodes").is_none(), "{moment} ms: {}", daemon.output());
    }
}

#[test]
fn promise_5_a_control_server_that_vanished_holds_up_nothing_for_long() {
    let scene = Scene::new();
    let mut daemon = scene.ready();
    black_hole::swallow_control().expect("packets vanish");
    daemon.terminate().expect("SIGTERM");
    let asked = Instant::now();
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0), "{}", daemon.output());
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    let log = daemon.stderr();
    let warning = log.lines().find(|line| line.contains("stays in the tailnet")).unwrap_or_default();
    assert!(warning.contains("WARN") && warning.contains("app.tail.test") && warning.contains("100.64."), "{log}");
}
