//! Tests of responses in both formats and all four modes.

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::*;

fn answer(body: &[u8], headers: &[(&'static str, &'static str)]) -> TargetAnswer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_static(value));
    }
    TargetAnswer { status: StatusCode::IM_A_TEAPOT, headers: map, body: Bytes::copy_from_slice(body) }
}

fn of(mode: &str, format: Format, answer: &TargetAnswer) -> Value {
    let json = render(Mode::named(mode), format, answer).expect("an answer");
    serde_json::from_str(json.get()).expect("JSON")
}

const HEADERS: [(&str, &str); 6] = [
    ("content-type", "text/plain"),
    ("content-length", "5"),
    ("x-twice", "1"),
    ("x-twice", "2"),
    ("set-cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
    ("set-cookie", "b=2"),
];

#[test]
fn full_passes_everything_on() {
    let answer = answer(b"h\xc3\xa9llo", &HEADERS);
    let cookies = json!(["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]);
    assert_eq!(
        of("FULL", Format::V2, &answer),
        json!({
            "statusCode": 418, "headers": { "content-type": "text/plain", "x-twice": "1, 2" }, "cookies": cookies,
            "body": "héllo", "isBase64Encoded": false,
        })
    );
    assert_eq!(
        of("full", Format::V1, &answer),
        json!({
            "statusCode": 418, "body": "héllo", "isBase64Encoded": false,
            "multiValueHeaders": { "content-type": ["text/plain"], "x-twice": ["1", "2"], "set-cookie": cookies },
        })
    );
}

#[test]
fn the_other_modes_pass_on_less() {
    let answer = answer(b"hello", &[("x-one", "1")]);
    let with_headers = json!({ "statusCode": 418, "headers": { "x-one": "1" }, "body": "", "isBase64Encoded": false });
    assert_eq!(of("Http_Code_Headers", Format::V2, &answer), with_headers);
    let code = json!({ "statusCode": 418, "body": "", "isBase64Encoded": false });
    assert_eq!(of("http_code", Format::V2, &answer), code);
    for other in ["", "NONE", "whatever"] {
        assert_eq!(of(other, Format::V2, &answer), json!({ "statusCode": 200, "body": "", "isBase64Encoded": false }));
    }
}

#[test]
fn bytes_that_are_no_text_go_as_base64() {
    for (body, headers) in [(&b"\xff\xfe\0"[..], &[][..]), (b"a\0b", &[]), (b"text", &[("content-encoding", "gzip")])] {
        let sent = of("FULL", Format::V2, &answer(body, headers));
        assert_eq!(sent["isBase64Encoded"], true);
        assert_eq!(STANDARD.decode(sent["body"].as_str().expect("text")).expect("base64"), body);
    }
}

#[test]
fn an_answer_over_lambda_s_limit_is_a_failure_with_a_reason() {
    let fits = vec![b'a'; LIMIT - 200];
    assert!(render(Mode::Full, Format::V2, &answer(&fits, &[])).is_ok());
    // Base64 makes it a third larger.
    let binary = vec![0xff; LIMIT * 3 / 4];
    let failure = render(Mode::Full, Format::V2, &answer(&binary, &[])).expect_err("too large");
    assert_eq!(failure.status(), 502);
    assert!(failure.told().contains("6291556"), "{}", failure.told());
    assert!(render(Mode::Code, Format::V2, &answer(&binary, &[])).is_ok());
}
