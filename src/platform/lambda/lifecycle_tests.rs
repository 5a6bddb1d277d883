//! Tests the lifecycle of an extension: what Lambda is told, and when it ends.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Responds to one request with `answer` and returns the request's text.
async fn exchange(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.expect("a client");
    let (mut request, mut buffer) = (String::new(), [0; 4096]);
    while !request.contains("}") {
        let read = stream.read(&mut buffer).await.expect("reads");
        request.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    stream.write_all(answer.as_bytes()).await.expect("writes");
    request
}

#[tokio::test(flavor = "current_thread")]
async fn a_failure_is_reported_with_its_type_in_the_phase_it_comes_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let lifecycle = ExtensionLifecycle::new(address, "tetherd".into(), false);
    let registered = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id-1\r\nContent-Length: 2\r\n\r\n{}";
    let (result, request) = tokio::join!(lifecycle.register(), exchange(&listener, registered));
    result.expect("registers");
    assert!(request.starts_with("POST /2020-01-01/extension/register ") && request.contains("[\"SHUTDOWN\"]"));
    let fatal = ExitReason::KeyRefused("used up".into());
    for (initialised, path) in [(false, "init/error"), (true, "exit/error")] {
        lifecycle.change(|registration| registration.initialised = initialised);
        let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        let ((), request) = tokio::join!(lifecycle.fail(&fatal), exchange(&listener, accepted));
        let head = request.to_ascii_lowercase();
        assert!(request.starts_with(&format!("POST /2020-01-01/extension/{path} ")), "{request}");
        assert!(head.contains("lambda-extension-identifier: id-1"), "{request}");
        assert!(head.contains("lambda-extension-function-error-type: tetherd.authkeyrefused"), "{request}");
        assert!(request.contains("used up"), "{request}");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_api_that_answers_no_more_is_asked_less_and_less_and_then_given_up() {
    for status in ["403 Forbidden", "500 Internal Server Error"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let lifecycle = ExtensionLifecycle::new(address, "tetherd".into(), false);
        lifecycle.change(|registration| registration.identifier = Some(Identifier::of("id-1")));
        let mut questions = 0;
        let refusing = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a client");
                questions += 1;
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        };
        let began = Instant::now();
        let request = tokio::select! {
            request = tokio::time::timeout(Duration::from_secs(60), lifecycle.shutdown()) => request.expect("ends"),
            () = refusing => unreachable!(),
        };
        assert!(request.reason.contains(status) && request.deadline.is_some(), "{}", request.reason);
        assert!(began.elapsed() > Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(questions, MOST_FAILURES);
    }
}

#[test]
fn the_deadline_is_the_events_within_reason() {
    let at = Duration::from_millis;
    assert_eq!(time_left(at(11_000), at(10_000)), at(850));
    assert_eq!(time_left(at(0), at(10_000)), at(300), "a clock that is off");
    assert_eq!(time_left(at(99_000), at(10_000)), at(1850));
}

/// Answers one request on a connection of its own with an event, and returns the request's first line.
async fn give(listener: &TcpListener, event: &str) -> String {
    let body = format!("{{\"eventType\":\"{event}\",\"deadlineMs\":0}}");
    let (mut stream, _) = listener.accept().await.expect("a client");
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).await.expect("reads");
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.expect("writes");
    String::from_utf8_lossy(&buffer[..read]).lines().next().unwrap_or_default().to_owned()
}

/// A snapshot is taken once the extension has asked for its first event; that one comes in each copy.
#[tokio::test(flavor = "current_thread")]
async fn a_snapshot_joins_at_the_first_invocation_and_goes_on_until_the_shutdown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let lifecycle = ExtensionLifecycle::new(address, "tetherd".into(), false).joining_at_first_invocation();
    let registered = "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: id-1\r\nContent-Length: 2\r\n\r\n{}";
    let (result, request) = tokio::join!(lifecycle.register(), exchange(&listener, registered));
    result.expect("registers");
    assert!(request.contains("[\"INVOKE\",\"SHUTDOWN\"]"), "{request}");
    let gate = lifecycle.start_gate();
    let events = async {
        let asked = listener.accept().await.expect("the first question");
        assert!(!gate.is_open(), "not before the event");
        drop(asked);
        give(&listener, "INVOKE").await;
        tokio::time::timeout(Duration::from_secs(5), gate.opened()).await.expect("opens");
        give(&listener, "INVOKE").await;
        give(&listener, "SHUTDOWN").await
    };
    let (request, line) = tokio::join!(lifecycle.stop_request(), events);
    assert!(request.reason.contains("shuts the execution environment down"), "{}", request.reason);
    assert!(line.contains("/event/next"), "{line}");
}
