//! Tests odd responses: without a body, in pieces, cut, slow, or redirects.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use testbed::lambda::Environment;

use crate::function::{PORT, direct, invoke, reason};
use crate::gateway::Call;

const RAW: u16 = PORT + 1;

/// Reads requests as long as they come, and lets `answer` write to the stream; false closes it. Returns how many came.
fn raw(answer: impl Fn(usize, &mut TcpStream) -> bool + Send + 'static) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(("127.0.0.1", RAW)).expect("a target");
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            while took_request(&stream) && answer(count.fetch_add(1, Ordering::SeqCst), &mut stream) {}
        }
    });
    requests
}

/// One with a body of two bytes.
fn took_request(stream: &TcpStream) -> bool {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        line.clear();
    }
    line == "\r\n" && reader.read_exact(&mut [0; 2]).is_ok()
}

fn answered(environment: &Environment) -> serde_json::Value {
    invoke(environment, &Call::post(b"{}").v2())
}

#[test]
fn answers_without_a_body_and_redirects_are_passed_on() {
    let (target, builder) = direct();
    let environment = builder.start().expect("starts");
    for (status, head) in [(204, "HTTP/1.1 204 No Content"), (304, "HTTP/1.1 304 Not Modified\r\nETag: \"a\"")] {
        target.answer(head, b"");
        let answer = answered(&environment);
        assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(status), &json!("")), "{answer}");
    }
    target.answer("HTTP/1.1 200 OK", b"as long as this");
    for method in ["HEAD", "OPTIONS"] {
        let answer = invoke(&environment, &Call::new(method, "/hook").v2());
        let body = if method == "HEAD" { "" } else { "as long as this" };
        assert_eq!((&answer["statusCode"], &answer["body"]), (&json!(200), &json!(body)), "{answer}");
    }
    target.take();
    target.answer("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:8000/elsewhere", b"");
    let answer = answered(&environment);
    assert_eq!((&answer["statusCode"], target.take().len()), (&json!(307), 1), "it is the caller's to follow");
    assert_eq!(answer["headers"]["location"], "http://127.0.0.1:8000/elsewhere");
}

#[test]
fn an_answer_in_pieces_arrives_whole_and_encoded_ones_stay_so() {
    let (_target, builder) = direct();
    raw(|number, stream| {
        let answers: [&[u8]; 2] = [
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
              Trailer: x-sum\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-sum: 1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
        ];
        stream.write_all(answers[number % 2]).is_ok()
    });
    let environment = builder.env("TS_PORT", &RAW.to_string()).start().expect("starts");
    assert_eq!(
        answered(&environment),
        json!({ "statusCode": 200, "headers": {}, "body": "abcde", "isBase64Encoded": false })
    );
    let encoded = answered(&environment);
    assert_eq!((&encoded["body"], &encoded["headers"]["content-encoding"]), (&json!("H4sIAA=="), &json!("gzip")));
}

#[test]
fn a_target_that_closes_early_is_a_502_and_is_not_asked_twice() {
    let (_target, builder) = direct();
    let requests = raw(|number, stream| match number {
        0 => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort").is_err(),
        1 => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok(),
        // On the connection of the one before.
        _ => false,
    });
    let environment = builder.env("TS_PORT", &RAW.to_string()).start().expect("starts");
    for status in [502, 200, 502] {
        assert_eq!(answered(&environment)["statusCode"], status, "{}", environment.log());
    }
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[test]
fn a_body_that_drips_is_a_504_before_the_function_s_own_timeout() {
    let (_target, builder) = direct();
    raw(|_, stream| {
        stream.set_nodelay(true).expect("set");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        // A byte at a time, as long as somebody takes them.
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("set");
        while !matches!(stream.read(&mut [0]), Ok(0)) && stream.write_all(b"a").is_ok() {}
        false
    });
    let builder = builder.env("TS_PORT", &RAW.to_string()).env("AWS_LAMBDA_FUNCTION_TIMEOUT", "3");
    let environment = builder.start().expect("starts");
    let asked = Instant::now();
    assert_eq!(answered(&environment)["statusCode"], 504, "{}", environment.log());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(reason(&environment)["status"], 504);
}

#[test]
fn a_target_that_changes_the_protocol_is_a_502() {
    let (target, builder) = direct();
    let environment = builder.start().expect("starts");
    target.answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket", b"");
    assert_eq!(answered(&environment)["statusCode"], 502, "{}", environment.log());
}
