//! Next to no CPU, as in a container of Cloud Run or App Runner between requests: a thousandth of a core is left. The first
//! connection of the next request works at once. Where nothing runs at all and flows die meanwhile: `frozen`.

use std::time::{Duration, Instant};

use testbed::server::Server;
use testbed::throttle::Throttle;

use crate::scene::{READY, Scene, connect, start_ready};

const IDLE: Duration = Duration::from_secs(20);
/// What a user was promised, far above what it takes.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn throttled_for_20_s_the_first_dial_works() {
    let scene = Scene::new();
    let _echo = Server::echo(7).expect("server");
    // Before the daemon: it ends first, and the group is empty then.
    let throttle = Throttle::new().expect("a group");
    let mut daemon = start_ready(scene.daemon().env("TS_DEBUG_ALWAYS_USE_DERP", "1"));
    connect("web", 7).expect("works before");
    for pid in [daemon.pid(), daemon.tailscaled_pid().expect("runs")] {
        throttle.take(pid).expect("taken in");
    }
    throttle.throttle().expect("throttled");
    std::thread::sleep(IDLE);
    throttle.release().expect("released");
    assert!(throttle.times().expect("a count") >= 5, "it hardly wanted any CPU: what does this test show?");

    let asked = Instant::now();
    let connected = connect("web", 7);
    println!("first dial after the throttling: {} ms", asked.elapsed().as_millis());
    assert!(connected.is_ok() && asked.elapsed() < SOON, "after {:?}: {}", asked.elapsed(), daemon.output());
    daemon.wait_ready(READY).expect("is ready");
}
