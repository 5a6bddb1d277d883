//! Tests with events as API Gateway and function URLs send them.

use serde_json::{Value, json};

use super::*;
use crate::dot_segments::tests::SPELLINGS;

fn read(event: Value) -> Result<Request, Malformed> {
    serde_json::from_value::<Event>(event).expect("an event").try_into()
}

/// AWS's sample of payload format 2.0, with what differs.
pub fn v2(changes: Value) -> Value {
    let mut event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/my/path",
        "rawQueryString": "parameter1=value1&parameter1=value2&parameter2=value",
        "cookies": ["cookie1=a", "cookie2=b=c"],
        "headers": { "header1": "value1", "header2": "value1,value2", "host": "id.execute-api.us-east-1.amazonaws.com" },
        "queryStringParameters": { "parameter1": "value1,value2", "parameter2": "value" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api-id", "domainName": "id.execute-api.us-east-1.amazonaws.com",
            "http": { "method": "POST", "path": "/my/path", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "agent" },
            "requestId": "id", "routeKey": "$default", "stage": "$default", "time": "12/Mar/2020:19:03:58 +0000",
        },
        "body": "Hello from Lambda", "pathParameters": null, "isBase64Encoded": false, "stageVariables": null,
    });
    merge(&mut event, changes);
    event
}

pub fn v1(changes: Value) -> Value {
    let mut event = json!({
        "version": "1.0", "resource": "/my/path", "path": "/my/path", "httpMethod": "GET",
        "headers": { "header1": "value1", "header2": "value2" },
        "multiValueHeaders": { "header1": ["value1"], "header2": ["value1", "value2"] },
        "queryStringParameters": { "parameter1": "value2", "parameter2": "value" },
        "multiValueQueryStringParameters": { "parameter1": ["value1", "value2"], "parameter2": ["a&b=c d"] },
        "requestContext": { "requestId": "id=", "stage": "$default", "identity": { "sourceIp": "192.0.2.1" } },
        "body": null, "isBase64Encoded": false,
    });
    merge(&mut event, changes);
    event
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name).or_insert(Value::Null), change);
            }
        }
        (into, change) => *into = change,
    }
}

fn all(request: &Request, name: &str) -> Vec<String> {
    request.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

#[test]
fn format_2_is_read_whole() {
    let request = read(v2(json!({}))).expect("a request");
    assert_eq!((request.format, request.id.as_str(), &request.method), (Format::V2, "id", &Method::POST));
    assert_eq!(request.target, "/my/path?parameter1=value1&parameter1=value2&parameter2=value");
    assert_eq!(all(&request, "header2"), ["value1,value2"]);
    assert_eq!(all(&request, "cookie"), ["cookie1=a; cookie2=b=c"]);
    assert_eq!(request.body, "Hello from Lambda");
    assert_eq!(request.source.as_deref(), Some("192.0.2.1"));
    assert_eq!(request.host.as_deref(), Some("id.execute-api.us-east-1.amazonaws.com"));
}

/// As in AWS's sample of a function URL: what the caller has encoded stays so, and a domain name stands for the host.
#[test]
fn a_function_url_s_path_stays_encoded() {
    let domain = "id.lambda-url.us-west-2.on.aws";
    let request = read(v2(json!({
        "rawPath": "/a%2Fb/c%20d", "rawQueryString": "q=%20&q=+", "headers": { "host": domain },
        "requestContext": { "domainName": domain, "domainPrefix": "id", "authentication": null, "authorizer": null },
    })));
    let request = request.expect("a request");
    assert_eq!((request.target.as_str(), request.host.as_deref()), ("/a%2Fb/c%20d?q=%20&q=+", Some(domain)));
    assert_eq!(request.format, Format::V2);
}

#[test]
fn format_1_keeps_repeated_headers_and_parameters() {
    let request = read(v1(json!({}))).expect("a request");
    assert_eq!((request.format, &request.method), (Format::V1, &Method::GET));
    assert_eq!(request.target, "/my/path?parameter1=value1&parameter1=value2&parameter2=a%26b%3Dc%20d");
    assert_eq!(all(&request, "header2"), ["value1", "value2"]);
    assert_eq!(request.source.as_deref(), Some("192.0.2.1"));
}

#[test]
fn binary_bodies_are_decoded_and_text_is_not() {
    let binary = read(v2(json!({ "body": "AP+A/g==", "isBase64Encoded": true }))).expect("a request");
    assert_eq!(&binary.body[..], [0x00, 0xff, 0x80, 0xfe]);
    let text = read(v2(json!({ "body": "AP+A/g==" }))).expect("a request");
    assert_eq!(&text.body[..], b"AP+A/g==");
    assert_eq!(read(v2(json!({ "body": "no base64!", "isBase64Encoded": true }))).expect_err("bad"), Malformed::Body);
    assert!(read(v2(json!({ "body": null }))).expect("a request").body.is_empty());
}

#[test]
fn a_query_string_stays_as_it_came() {
    for query in ["a=1&a=2&a", "x=%20%2b+&y=%C3%A9", "&&=", "sig=a/b+c==&u=http://h/?q"] {
        let request = read(v2(json!({ "rawQueryString": query }))).expect("a request");
        assert_eq!(request.target, format!("/my/path?{query}"));
    }
    assert_eq!(read(v2(json!({ "rawQueryString": "" }))).expect("a request").target, "/my/path");
}

#[test]
fn a_stage_before_the_path_is_taken_off() {
    let of = |stage: &str, path: &str| {
        read(v2(json!({ "rawPath": path, "requestContext": { "stage": stage } }))).expect("a request").target
    };
    assert!(of("prod", "/prod/hook").starts_with("/hook?"));
    assert!(of("prod", "/prod").starts_with("/?"));
    assert!(of("prod", "/production/hook").starts_with("/production/hook?"));
    assert!(of("$default", "/prod/hook").starts_with("/prod/hook?"));
}

#[test]
fn what_is_no_request_is_refused_with_a_reason() {
    assert_eq!(read(json!({ "key": "value" })).expect_err("none"), Malformed::Unknown);
    let header = v2(json!({ "headers": { "x-bad": "a\r\nInjected: 1" } }));
    assert_eq!(read(header).expect_err("bad"), Malformed::Header("x-bad".into()));
    let method = v2(json!({ "requestContext": { "http": { "method": "GET /" } } }));
    assert_eq!(read(method).expect_err("bad"), Malformed::Method);
}

#[test]
fn dot_segments_in_every_spelling_are_refused_in_both_formats() {
    let stages = [("$default", ""), ("prod", "/prod")];
    for path in SPELLINGS {
        for (stage, before) in stages {
            let path = format!("{before}{path}");
            let context = json!({ "stage": stage });
            let request = read(v2(json!({ "rawPath": path, "requestContext": context })));
            assert!(request.is_err(), "2.0, {stage}: {path} becomes {}", request.expect("a request").target);
        }
        let request = read(v1(json!({ "path": path })));
        assert!(request.is_err(), "1.0: {path} becomes {}", request.expect("a request").target);
    }
}

#[test]
fn dots_that_are_no_segment_stay_as_they_came() {
    let paths = [
        "/a..b/..c/d../.e/f./.well-known/x",
        "/a%2e%2eb/..%2ec",
        "/v1.2/file.tar.gz",
        "/group%2Fproject/hooks",
        "/a;b=../c;..",
        "/a%5cb",
        "//",
        "/%2F%2f",
        "/%00",
        "/%ff%FE",
        "/100%25/%25zz",
        "/%C3%A9..",
        "/..%41",
    ];
    for path in paths {
        let request = read(v2(json!({ "rawPath": path, "rawQueryString": "u=/../x&v=%2e%2e/" }))).expect(path);
        assert_eq!(request.target, format!("{path}?u=/../x&v=%2e%2e/"));
        let request =
            read(v1(json!({ "path": path, "multiValueQueryStringParameters": null, "queryStringParameters": null })));
        assert_eq!(request.expect(path).target, path);
    }
}

/// Behind `/base` it would be `/basex`, which is another path.
#[test]
fn a_path_that_begins_with_no_slash_is_refused() {
    for path in ["x", "..", "@evil", "http://evil/", "*"] {
        assert!(read(v1(json!({ "path": path }))).is_err(), "1.0: {path}");
        assert!(read(v2(json!({ "rawPath": path }))).is_err(), "2.0: {path}");
    }
}
