//! Tests promise 4 in Lambda: connections end at their target, too.
//!
//! A function's connections end there when the function closes them.

use std::time::Duration;

use serde_json::json;
use testbed::Ends;

use crate::scene::Scene;

const PORT: u16 = 6379;
const CLIENTS: usize = 25;
/// A round trip takes some ms; every time limit that could end a connection instead is 5 s and more.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn the_target_sees_the_ends_of_25_clients_of_a_function_that_close_first() {
    let scene = Scene::new();
    let target = Ends::answering(PORT, b"PING", b"PONG").expect("a target");
    let environment = scene.python().start().expect("starts");
    let event = json!({ "clients": CLIENTS, "host": "web", "port": PORT });
    let answer = environment.invoke(&event).expect("answers");
    assert_eq!(answer["reply"], 0, "{answer} {}", environment.log());
    let ends = target.wait(0, CLIENTS, SOON).unwrap_or_else(|error| panic!("{error:#} {}", environment.log()));
    assert!(ends.iter().all(|end| end.received == b"PING" && !end.reset), "{ends:?}");
}
