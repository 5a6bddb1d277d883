//! What API Gateway asks (payload format 2.0) and is answered (simple response). Only the request context counts: the
//! gateway writes it, while every header comes from the caller.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cidr::{Allowed, Fault};

/// As far as it matters here; headers are not even read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Question {
    request_context: RequestContext,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestContext {
    request_id: String,
    http: Http,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Http {
    source_ip: String,
}

/// The simple response.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub is_authorized: bool,
}

/// Every denial is logged, with the address as the gateway saw it.
pub fn verdict(allowed: &Result<Allowed, Fault>, question: &Question, invocation: &str) -> Answer {
    let source = question.request_context.http.source_ip.as_str();
    let reason = match (allowed, source.parse::<IpAddr>()) {
        (Err(fault), _) => Some(fault.to_string()),
        (_, Err(_)) => Some("the request context has no usable source address: is this an HTTP API?".to_owned()),
        (Ok(allowed), Ok(address)) if !allowed.contains(address) => {
            Some("the address is in no network of AUTHD_SOURCE_CIDR".to_owned())
        }
        _ => None,
    };
    if let Some(reason) = &reason {
        let request_id = question.request_context.request_id.as_str();
        tracing::warn!(invocation, request_id, source, reason, "denied");
    }
    Answer { is_authorized: reason.is_none() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(event: Value, setting: Option<&str>) -> Value {
        let question = serde_json::from_value(event).expect("a question");
        serde_json::to_value(verdict(&Allowed::read(setting), &question, "1")).expect("JSON")
    }

    fn from(source: &str) -> Value {
        // As in AWS's sample of the format.
        json!({
            "version": "2.0", "type": "REQUEST", "routeKey": "$default", "rawPath": "/hook", "rawQueryString": "",
            "routeArn": "arn:aws:execute-api:us-east-1:123456789012:abcdef123/$default/$default",
            "headers": { "x-forwarded-for": "192.0.2.1", "forwarded": "for=192.0.2.1", "x-real-ip": "192.0.2.1" },
            "requestContext": {
                "requestId": "id", "stage": "$default",
                "http": { "method": "POST", "path": "/hook", "protocol": "HTTP/1.1", "sourceIp": source, "userAgent": "a" },
            },
        })
    }

    #[test]
    fn the_answer_is_the_simple_response() {
        assert_eq!(asked(from("192.0.2.1"), Some("192.0.2.0/24")), json!({ "isAuthorized": true }));
        assert_eq!(asked(from("203.0.113.1"), Some("192.0.2.0/24")), json!({ "isAuthorized": false }));
    }

    #[test]
    fn headers_admit_nobody() {
        // They all claim 192.0.2.1.
        assert_eq!(asked(from("203.0.113.9"), Some("192.0.2.1/32")), json!({ "isAuthorized": false }));
        let without_context = json!({ "headers": { "x-forwarded-for": "192.0.2.1" } });
        assert_eq!(asked(without_context, Some("0.0.0.0/0,::/0")), json!({ "isAuthorized": false }));
    }

    #[test]
    fn a_bad_or_missing_setting_denies_everybody() {
        for setting in [None, Some(""), Some("0.0.0.0/0,nonsense")] {
            assert_eq!(asked(from("192.0.2.1"), setting), json!({ "isAuthorized": false }), "{setting:?}");
        }
    }
}
