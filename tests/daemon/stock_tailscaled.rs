//! Tests a stock tailscaled, which users bring and which lacks tetherd's calls.
//!
//! Connections work and end in time, UDP is refused, and the log says so.

use std::io::Write;
use std::time::Duration;

use testbed::daemon::{Builder, SOCKS};
use testbed::server::{Server, SlowAnswer};
use testbed::{parts, socks};

use crate::doors::{Doors, HOSTS, each_holds};
use crate::promise_4_ends::{PORT, answered_after_half_close, answering_pings, clients_that_close_first};
use crate::scene::{Scene, start_ready};

/// The daemon with a tailscaled as users may bring it.
pub fn with_stock_tailscaled(scene: &Scene) -> Builder {
    let stock = parts::find("stock/tailscaled").expect("parts");
    scene.daemon().env("TETHERD_TAILSCALED_PATH", stock.to_str().expect("UTF-8"))
}

#[test]
fn stock_tailscaled_the_target_sees_the_ends_of_25_clients_that_close_first() {
    let scene = Scene::new();
    let target = answering_pings();
    let doors = Doors::to(&HOSTS, PORT);
    let _daemon = start_ready(doors.settings(with_stock_tailscaled(&scene)));
    each_holds(&doors.ways(), |way| clients_that_close_first(&doors, &target, way));
}

#[test]
fn stock_tailscaled_a_client_that_half_closes_gets_its_whole_answer() {
    let scene = Scene::new();
    let how = SlowAnswer { after_half_close: false, bytes: 1 << 20, parts: 8, pause: Duration::from_millis(100) };
    let _target = Server::slow_answer(PORT, how).expect("server");
    let doors = Doors::to(&HOSTS, PORT);
    let _daemon = start_ready(doors.settings(with_stock_tailscaled(&scene)));
    each_holds(&doors.ways(), |way| answered_after_half_close(&doors, way));
}

#[test]
fn stock_tailscaled_has_no_udp_and_the_log_says_what_is_less() {
    let scene = Scene::new();
    let daemon = start_ready(with_stock_tailscaled(&scene));
    let mut control = socks::open(SOCKS).expect("connects");
    socks::authenticate(&mut control, None).expect("greets");
    control.write_all(&socks::request(3, "0.0.0.0", 0)).expect("asks");
    assert_eq!(socks::read_reply(&mut control).expect_err("is refused").reply(), Some(7));
    let said = daemon.stderr();
    let says = |line: &&str| line.contains("tailscaled") && line.contains("UDP");
    assert_eq!(said.lines().filter(says).count(), 1, "{said}");
}
