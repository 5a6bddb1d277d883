//! Tests promise 4: a client that half-closes still gets its whole response.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use testbed::server::{Server, SlowAnswer, pattern};

use crate::scene::{Scene, connect, start_ready};

const ANSWER: usize = 1 << 20;

/// Sends one line to `host`, half-closes, and reads to the end.
fn ask_and_half_close(host: &str, port: u16) -> Vec<u8> {
    let mut stream = connect(host, port).expect("connects");
    stream.write_all(b"question\n").expect("sent");
    stream.shutdown(Shutdown::Write).expect("half-closed");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answers");
    answer
}

fn slow(after_half_close: bool) -> SlowAnswer {
    SlowAnswer { after_half_close, bytes: ANSWER, parts: 8, pause: Duration::from_millis(100) }
}

#[test]
fn promise_4_the_whole_answer_arrives_through_the_tailnet() {
    let scene = Scene::new();
    let _server = Server::slow_answer(90, slow(false)).expect("server");
    let _daemon = scene.ready();
    assert!(ask_and_half_close("web", 90) == pattern(ANSWER), "the answer is not whole");
}

#[test]
fn promise_4_outside_the_tailnet_the_target_even_hears_of_the_half_close() {
    let scene = Scene::new();
    let _server = Server::slow_answer(90, slow(true)).expect("server");
    let _daemon = scene.ready();
    assert!(ask_and_half_close("127.0.0.1", 90) == pattern(ANSWER), "the answer is not whole");
}

#[test]
fn promise_4_a_half_closed_connection_that_stays_silent_is_ended() {
    let scene = Scene::new();
    let _server = Server::silent(91).expect("server");
    let _daemon = start_ready(scene.daemon().env("TETHERD_HALF_CLOSE_TIMEOUT", "1s"));
    assert_eq!(ask_and_half_close("web", 91), b"");
}
