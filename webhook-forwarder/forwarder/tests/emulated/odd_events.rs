//! Tests events that no tidy caller makes.
//!
//! Strange paths, headers for one hop, nulls, and messages that are no requests.

use serde_json::{Value, json};

use crate::function::{direct, invoke};
use crate::gateway::Call;

#[test]
fn strange_paths_and_queries_arrive_as_they_are() {
    let (target, builder) = direct();
    let environment = builder.start().expect("starts");
    let paths = ["//", "//evil.example/x", "/%2F%2f", "/%00", "/..a", "/a..//b.", "/%ff%FE", "/a%", "/http://b/", "/*"];
    for (path, query) in paths.into_iter().zip(["", "=", "&", "=&=", "a", "%ff", "%00", "?", "a=%", "x=1&X=2"]) {
        let call = Call { query: query.into(), ..Call::new("GET", path) };
        assert_eq!(invoke(&environment, &call.v2())["statusCode"], 200, "{path}: {}", environment.log());
        let expected = if query.is_empty() { String::new() } else { format!("?{query}") };
        // A lone percent sign was decoded.
        let path = if path == "/a%" { "/a%25" } else { path };
        assert_eq!(target.take()[0].line, format!("GET {path}{expected} HTTP/1.1"));
    }
}

#[test]
fn headers_for_one_hop_end_here_and_nulls_are_nothing() {
    let (target, builder) = direct();
    let environment = builder.start().expect("starts");
    let mut event = Call::post(b"{}").header("connection", "x-foo, Host, content-length").header("x-foo", "1").v2();
    for field in ["cookies", "stageVariables", "pathParameters", "queryStringParameters", "isBase64Encoded"] {
        event[field] = Value::Null;
    }
    event["requestContext"]["authorizer"] = Value::Null;
    assert_eq!(invoke(&environment, &event)["statusCode"], 200, "{}", environment.log());
    let seen = target.take().remove(0);
    assert!(seen.all("x-foo").is_empty() && seen.all("connection").is_empty(), "{seen:?}");
    assert_eq!((seen.all("host"), seen.all("content-length")), (vec!["127.0.0.1:8000"], vec!["2"]));
    for (field, value) in
        [("headers", Value::Null), ("body", Value::Null), ("rawPath", json!("")), ("rawQueryString", Value::Null)]
    {
        event[field] = value;
        assert_eq!(invoke(&environment, &event)["statusCode"], 200, "{field}: {}", environment.log());
    }
    assert_eq!(target.take().last().expect("one").line, "POST / HTTP/1.1");
}

#[test]
fn what_a_target_would_take_for_its_proxy_s_word_does_not_arrive() {
    let (target, builder) = direct();
    let environment = builder.env("TS_BASE_PATH", "/hooks").start().expect("starts");
    let forged = [
        "x-forwarded-user",
        "remote-user",
        "x-real-ip",
        "forwarded",
        "x-original-url",
        "tailscale-user-login",
        "x_real_ip",
    ];
    let call = forged
        .iter()
        .fold(Call::post(b"{}"), |call, name| call.header(name, "forged"))
        .header("x-github-event", "push");
    for mut event in [call.v2(), call.v1()] {
        event["headers"]["x-forwarded-proto"] = json!("http");
        assert_eq!(invoke(&environment, &event)["statusCode"], 200, "{}", environment.log());
        let seen = target.take().remove(0);
        assert!(!seen.headers.iter().any(|(_, value)| value.contains("forged")), "{seen:?}");
        assert_eq!((seen.all("x-forwarded-proto"), seen.all("x-github-event")), (vec!["https"], vec!["push"]));
        assert_eq!(seen.line, "POST /hooks/hook HTTP/1.1");
    }
}

#[test]
fn what_is_no_request_is_refused_and_never_reaches_the_target() {
    let (target, builder) = direct();
    let environment = builder.start().expect("starts");
    let method = |method: &str| Call::new(method, "/").v2();
    let header = |name: &str, value: &str| Call::new("GET", "/").header(name, value).v2();
    let refused = [
        json!(null),
        json!([]),
        json!("text"),
        json!({ "Records": [] }),
        json!({ "requestContext": null }),
        method(""),
        method("GET /admin HTTP/1.1\r\nX:"),
        header("x-a", "1\r\nX-Injected: 1"),
        header("x a", "1"),
        header("", "1"),
        Call::new("GET", "/../admin").v2(),
        Call::new("GET", "/%2e%2e%2fadmin").v1(),
        Call::new("GET", "/a/..;/..%5cadmin").v2(),
    ];
    for event in refused {
        assert_eq!(invoke(&environment, &event)["statusCode"], 400, "{event}: {}", environment.log());
    }
    let bodies = ["", "no JSON", "{}", r#"{"requestContext":{"http":{"method":"G T"}}}"#];
    let records: Vec<Value> =
        (0..).zip(bodies).map(|(id, body)| json!({ "messageId": id.to_string(), "body": body })).collect();
    let answer = invoke(&environment, &json!({ "Records": records }));
    assert_eq!(answer["batchItemFailures"].as_array().map(Vec::len), Some(bodies.len()), "{answer}");
    assert_eq!(target.take().len(), 0);
}
