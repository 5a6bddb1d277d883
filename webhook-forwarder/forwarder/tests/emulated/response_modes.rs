//! Tests a webhook through the tailnet and back, in each mode of `PROXY_RESPONSE`.

use serde_json::{Value, json};

use crate::function::{Scene, invoke};
use crate::gateway::{Call, HOST, SOURCE};

const HEAD: &str = "HTTP/1.1 418 I'm a teapot\r\nContent-Type: text/plain\r\nX-Twice: 1\r\nX-Twice: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1";

/// One tailnet for the four: only the forwarder differs.
#[test]
fn each_mode_passes_on_what_it_says_through_the_tailnet() {
    let scene = Scene::new();
    let headers = json!({ "content-type": "text/plain", "x-twice": "1, 2" });
    let answer = |body: &str| json!({ "statusCode": 418, "headers": headers, "cookies": ["a=1", "b=2"], "body": body, "isBase64Encoded": false });
    let bare = |status: u16| json!({ "statusCode": status, "body": "", "isBase64Encoded": false });
    let modes: [(&str, Value); 4] = [
        ("full", answer("short and stout")),
        ("HTTP_CODE_HEADERS", answer("")),
        ("http_code", bare(418)),
        ("NOTHING", bare(200)),
    ];
    for (mode, expected) in modes {
        let environment = scene.forwarder(mode).start().expect("starts");
        scene.target.answer(HEAD, b"short and stout");
        assert_eq!(invoke(&environment, &Call::post(b"{}").v2()), expected, "{mode}: {}", environment.log());
        let seen = scene.target.take();
        let [one] = seen.as_slice() else { panic!("{mode}: {seen:?}") };
        assert_eq!((one.line.as_str(), one.body.as_slice()), ("POST /hook HTTP/1.1", &b"{}"[..]));
        assert_eq!(one.all("host"), ["web:8000"]);
        assert_eq!((one.all("x-forwarded-for"), one.all("x-forwarded-host")), (vec![SOURCE], vec![HOST]));
        assert_eq!((one.all("x-forwarded-proto"), one.all("via")), (vec!["https"], vec!["1.1 tetherd-webhook"]));
    }
}

#[test]
fn a_second_request_takes_the_connection_of_the_first() {
    let scene = Scene::new();
    let environment = scene.forwarder("FULL").start().expect("starts");
    for _ in 0..5 {
        assert_eq!(invoke(&environment, &Call::post(b"{}").v2())["statusCode"], 200);
    }
    assert_eq!(scene.target.take().len(), 5);
    assert_eq!(scene.target.connections(), 1);
}

#[test]
fn a_host_that_the_tailnet_does_not_know_is_a_502_with_the_reason_in_the_log() {
    let scene = Scene::new();
    let environment = scene.forwarder("FULL").env("TS_TARGET", "nobody.tail.invalid").start().expect("starts");
    let answer = invoke(&environment, &Call::post(b"{}").v2());
    assert_eq!(answer["statusCode"], 502, "{}", environment.log());
    assert!(crate::function::reason(&environment)["reason"].as_str().expect("text").contains("Host unreachable"));
}
