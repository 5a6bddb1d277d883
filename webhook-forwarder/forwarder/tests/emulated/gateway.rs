//! API Gateway's part: an HTTP request as an event of payload format 2.0 or 1.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

pub const SOURCE: &str = "203.0.113.7";
pub const HOST: &str = "abcdef.execute-api.eu-west-1.amazonaws.com";

/// What a caller sends; header names are in lower case, as the gateway hands them over.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub cookies: Vec<String>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn new(method: &str, path: &str) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        Self { method, path, query: String::new(), headers: Vec::new(), cookies: Vec::new(), body: Vec::new() }
    }

    pub fn post(body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..Self::new("POST", "/hook") }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(&self) -> (Value, bool) {
        match std::str::from_utf8(&self.body) {
            _ if self.body.is_empty() => (Value::Null, false),
            Ok(text) => (text.into(), false),
            Err(_) => (STANDARD.encode(&self.body).into(), true),
        }
    }

    /// Repeated headers come as one, with commas, cookies apart.
    pub fn v2(&self) -> Value {
        let (body, is_base64) = self.body();
        let mut headers =
            Map::from_iter([("host".to_owned(), json!(HOST)), ("x-forwarded-for".to_owned(), json!(SOURCE))]);
        headers.insert("x-forwarded-proto".into(), json!("https"));
        for (name, value) in &self.headers {
            match headers.get(name).and_then(Value::as_str) {
                Some(earlier) => headers.insert(name.clone(), json!(format!("{earlier},{value}"))),
                None => headers.insert(name.clone(), json!(value)),
            };
        }
        let http = json!({ "method": self.method, "path": self.path, "protocol": "HTTP/1.1", "sourceIp": SOURCE, "userAgent": "t" });
        let mut event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": self.path, "rawQueryString": self.query, "headers": headers,
            "requestContext": {
                "accountId": "123456789012", "apiId": "abcdef", "domainName": HOST, "http": http, "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": "$default", "stage": "$default", "time": "10/Nov/2026:10:00:00 +0000", "timeEpoch": 1_794_304_800_000_u64,
            },
            "body": body, "isBase64Encoded": is_base64,
        });
        if !self.cookies.is_empty() {
            event["cookies"] = json!(self.cookies);
        }
        event
    }

    /// Repeated headers stay apart.
    pub fn v1(&self) -> Value {
        let (body, is_base64) = self.body();
        let mut many = Map::<String, Value>::new();
        for (name, value) in &self.headers {
            let values = many.entry(name.clone()).or_insert_with(|| json!([]));
            values.as_array_mut().expect("an array").push(json!(value));
        }
        json!({
            "version": "1.0", "resource": "$default", "path": self.path, "httpMethod": self.method, "multiValueHeaders": many,
            "requestContext": { "requestId": "id", "stage": "$default", "identity": { "sourceIp": SOURCE } },
            "body": body, "isBase64Encoded": is_base64,
        })
    }
}
