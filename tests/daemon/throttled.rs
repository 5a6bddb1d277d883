//! Next to no CPU, as a container of Cloud Run or App Runner between requests: a thousandth of a core is left, and the flows to
//! control server and relay have died meanwhile. The first connection of the next request works all the same.

use std::time::{Duration, Instant};

use testbed::cgroup::CpuGroup;
use testbed::flows::black_hole;
use testbed::server::Server;

use crate::scene::{READY, Scene, connect, start_ready};

const CONTROL_PORT: u16 = 8443;
const IDLE: Duration = Duration::from_secs(20);
/// What a user was promised, far above what it takes.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn throttled_for_20_s_the_first_dial_works() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    let group = CpuGroup::new().expect("a group");
    let mut daemon = start_ready(scene.daemon().env("TS_DEBUG_ALWAYS_USE_DERP", "1"));
    connect("web", 7).expect("works before");
    let tailscaled = daemon.tailscaled_pid().expect("runs");
    for pid in [daemon.pid(), tailscaled] {
        group.take(pid).expect("taken in");
    }
    group.throttle().expect("throttled");
    assert!(black_hole(tailscaled, CONTROL_PORT).expect("flows") >= 1);
    std::thread::sleep(IDLE);
    group.release().expect("released");

    let asked = Instant::now();
    let connected = connect("web", 7);
    println!("first dial after the throttling: {} ms", asked.elapsed().as_millis());
    assert!(connected.is_ok() && asked.elapsed() < SOON, "after {:?}: {}", asked.elapsed(), daemon.output());
    daemon.wait_ready(READY).expect("is ready");
    drop(daemon);
}
