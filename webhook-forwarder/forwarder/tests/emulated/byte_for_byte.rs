//! Tests that what a caller sends arrives byte for byte, through the tailnet.
//!
//! Queries, repeated headers and binary bodies by name, then two hundred requests at random. The seed is printed;
//! `WEBHOOK_SEED` repeats a run.

use std::env;

use fastrand::Rng;
use webhook_forwarder::dot_segments::has_dot_segment;

use crate::function::{Scene, invoke};
use crate::gateway::Call;
use crate::target::{Seen, Target};

const REQUESTS: usize = 200;
/// As base64 and with the event around it, the most that Lambda takes is 6 MiB.
const LARGEST_BINARY: usize = 4_600_000;
const LARGEST_TEXT: usize = 5_000_000;
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

fn only(target: &Target) -> Seen {
    let mut seen = target.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen.remove(0)
}

fn assert_arrived(seen: &Seen, call: &Call) {
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    assert_eq!(seen.line, format!("{} {}{query} HTTP/1.1", call.method, call.path));
    for (name, _) in &call.headers {
        let sent: Vec<&str> =
            call.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect();
        assert_eq!(seen.all(name).join(","), sent.join(","), "{name}");
    }
    let cookies = call.cookies.join("; ");
    assert_eq!(seen.all("cookie"), if cookies.is_empty() { vec![] } else { vec![cookies.as_str()] });
    assert!(seen.body == call.body, "{} bytes came of {}, or others", seen.body.len(), call.body.len());
}

#[test]
fn query_strings_repeated_headers_and_binary_bodies_arrive() {
    let scene = Scene::new();
    let environment = scene.forwarder("FULL").start().expect("starts");
    let queries = ["a=1&a=2&a=&a", "q=%20%2B+&e=%C3%A9&x[]=1", "sig=ab/c+d==&u=http://h/p?q", "&&="];
    for query in queries {
        let call = Call { query: query.into(), ..Call::new("GET", "/a%2Fb/..c//%C3%A9;v=1") };
        assert_eq!(invoke(&environment, &call.v2())["statusCode"], 200, "{}", environment.log());
        assert_arrived(&only(&scene.target), &call);
    }
    let repeated = Call::post(b"{}").header("x-tag", "one").header("x-tag", "two").header("x-tag", "three");
    invoke(&environment, &repeated.v2());
    assert_eq!(only(&scene.target).all("x-tag"), ["one,two,three"], "as format 2.0 has them");
    invoke(&environment, &repeated.v1());
    assert_eq!(only(&scene.target).all("x-tag"), ["one", "two", "three"], "as format 1.0 has them");
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let binary = Call::post(&every_byte).header("content-type", "application/octet-stream");
    scene.target.answer("HTTP/1.1 200 OK", &every_byte);
    let answer = invoke(&environment, &binary.v2());
    assert_arrived(&only(&scene.target), &binary);
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.decode(answer["body"].as_str().expect("text"));
    assert_eq!(answer["isBase64Encoded"], true);
    assert!(body.expect("base64") == every_byte, "and back");
}

#[test]
fn two_hundred_random_requests_arrive_byte_for_byte() {
    let seed = env::var("WEBHOOK_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
    eprintln!("WEBHOOK_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let scene = Scene::new();
    let environment = scene.forwarder("HTTP_CODE").start().expect("starts");
    for number in 0..REQUESTS {
        let call = random(&mut rng, number);
        let event =
            if number % 4 == 3 && call.query.is_empty() && call.cookies.is_empty() { call.v1() } else { call.v2() };
        let answer = invoke(&environment, &event);
        assert_eq!(answer["statusCode"], 200, "request {number}: {answer}\n{}", environment.log());
        assert_arrived(&only(&scene.target), &call);
    }
}

fn random(rng: &mut Rng, number: usize) -> Call {
    let mut call = Call::new(METHODS[rng.usize(..METHODS.len())], &path(rng));
    if rng.bool() {
        let names: Vec<String> = (0..rng.usize(1..4)).map(|_| text(rng, 1..6, "abcXYZ0123-._~%20")).collect();
        let pairs = (0..rng.usize(1..8))
            .map(|_| format!("{}={}", rng.choice(&names).expect("one"), encoded(rng, "&=;?/:+[]{}|^`\\'!$*,()@")));
        call.query = pairs.collect::<Vec<_>>().join("&");
    }
    for _ in 0..rng.usize(..12) {
        let name = format!("x-{}", text(rng, 1..3, "abc0-"));
        let printable: String = (' '..='~').filter(|c| *c != '"').chain(['"', 'é', '漢']).collect();
        // White space at its ends is none of a value's (RFC 9110, 5.5), and the reader here splits at the first colon.
        let value = text(rng, 1..60, &printable).trim().to_owned();
        call.headers.push((name, if value.is_empty() { "-".into() } else { latin(&value) }));
    }
    call.cookies = (0..rng.usize(..3)).map(|at| format!("c{at}={}", text(rng, 0..20, "abc=/+%"))).collect();
    call.body = body(rng, number, &call.method);
    call
}

/// A header's bytes are compared one by one; in an event they are UTF-8.
fn latin(value: &str) -> String {
    value.chars().filter(char::is_ascii).collect()
}

/// Dot segments are refused (`odd_events`).
fn path(rng: &mut Rng) -> String {
    loop {
        let segments = (0..rng.usize(..6)).map(|_| match rng.u8(..8) {
            0 => "..a".to_owned(),
            1 => String::new(),
            _ => encoded(rng, "!$&'()*+,;=:@-._~"),
        });
        let path = format!("/{}", segments.collect::<Vec<_>>().join("/"));
        if !has_dot_segment(&path) {
            return path;
        }
    }
}

/// Letters, signs that stand for themselves, and escapes.
fn encoded(rng: &mut Rng, signs: &str) -> String {
    (0..rng.usize(..20))
        .map(|_| match rng.u8(..4) {
            0 => format!("%{:02X}", rng.u8(..)),
            1 => format!("%{:02x}", rng.u8(..)),
            2 => sign(rng, signs).to_string(),
            _ => rng.alphanumeric().to_string(),
        })
        .collect()
}

fn text(rng: &mut Rng, length: std::ops::Range<usize>, of: &str) -> String {
    (0..rng.usize(length)).map(|_| sign(rng, of)).collect()
}

fn sign(rng: &mut Rng, of: &str) -> char {
    of.chars().nth(rng.usize(..of.chars().count())).expect("one")
}

/// Most are small, every tenth is as large as can be.
fn body(rng: &mut Rng, number: usize, method: &str) -> Vec<u8> {
    if ["GET", "HEAD"].contains(&method) {
        return Vec::new();
    }
    match (number % 10, rng.bool()) {
        (9, true) => (0..LARGEST_TEXT)
            .map(|_| rng.u8(b' '..=b'~'))
            .map(|byte| if byte == b'"' || byte == b'\\' { b'x' } else { byte })
            .collect(),
        (9, false) => (0..LARGEST_BINARY).map(|_| rng.u8(..)).collect(),
        _ => (0..rng.usize(..20_000)).map(|_| rng.u8(..)).collect(),
    }
}
