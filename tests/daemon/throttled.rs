//! Tests the first connection after a time with next to no CPU.
//!
//! So it is in a container of Cloud Run or App Runner between requests. The first connection of the next request works
//! at once, and soon where the flows to control server and relay have died meanwhile. Where nothing runs at all:
//! `frozen`.

use std::time::{Duration, Instant};

use testbed::daemon::Daemon;
use testbed::flows::black_hole;
use testbed::server::Server;
use testbed::throttle::Throttle;

use crate::scene::{CONTROL_PORT, READY, RELAY_ONLY, Scene, connect, start_ready};

const IDLE: Duration = Duration::from_secs(20);
/// What a user was promised, far above what it takes.
const SOON: Duration = Duration::from_secs(1);
/// A second passes until a dial counts as silent; then the path is made anew.
const SOON_OVER_DEAD_FLOWS: Duration = Duration::from_secs(3);

/// Of a core, in thousandths.
const HARDLY_ANY: u32 = 1;
/// Enough for the daemon's clock to tick in time, so that nothing looks like a freeze.
const A_TRICKLE: u32 = 10;

/// Throttles the daemon for a while, and `meanwhile` happens to tailscaled.
fn throttled_for_a_while((throttle, left): (&Throttle, u32), daemon: &Daemon, meanwhile: impl FnOnce(i32)) {
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    for pid in [daemon.pid(), tailscaled] {
        throttle.take(pid).expect("taken in");
    }
    throttle.throttle(left).expect("throttled");
    meanwhile(tailscaled);
    std::thread::sleep(IDLE);
    throttle.release().expect("released");
}

fn dials_within(limit: Duration, daemon: &mut Daemon) {
    let asked = Instant::now();
    let connected = connect("web", 7);
    println!("first dial after the throttling: {} ms", asked.elapsed().as_millis());
    assert!(connected.is_ok() && asked.elapsed() < limit, "after {:?}: {}", asked.elapsed(), daemon.output());
    daemon.wait_ready(READY).expect("is ready");
}

#[test]
fn throttled_for_20_s_the_first_dial_works() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    // Before the daemon: it ends first, and the group is empty then.
    let throttle = Throttle::new().expect("a group");
    let mut daemon = start_ready(scene.daemon().env(RELAY_ONLY.0, RELAY_ONLY.1));
    connect("web", 7).expect("works before");
    throttled_for_a_while((&throttle, HARDLY_ANY), &daemon, |_| {});
    assert!(throttle.times().expect("a count") >= 5, "it hardly wanted any CPU: what does this test show?");
    dials_within(SOON, &mut daemon);
}

#[test]
fn throttled_for_20_s_while_its_flows_die_the_first_dial_works_within_seconds() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let throttle = Throttle::new().expect("a group");
    let mut daemon = start_ready(scene.daemon().env(RELAY_ONLY.0, RELAY_ONLY.1));
    let tailscaled = daemon.tailscaled_pid();
    connect("web", 7).expect("works before");
    throttled_for_a_while((&throttle, A_TRICKLE), &daemon, |tailscaled| {
        assert!(black_hole(tailscaled, CONTROL_PORT).expect("flows") >= 1);
    });
    dials_within(SOON_OVER_DEAD_FLOWS, &mut daemon);
    assert_eq!(daemon.tailscaled_pid(), tailscaled, "tailscaled needed no restart");
    let metrics = daemon.http_get("/metrics").expect("answers").text();
    assert!(metrics.contains("\ntetherd_thaws_total 0\n"), "a freeze is another test: {metrics}");
}
