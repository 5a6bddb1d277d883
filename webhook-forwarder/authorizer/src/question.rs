//! The authorizer's request and response: what API Gateway asks and is answered.
//!
//! HTTP APIs have payload format 2.0 and the simple response; REST APIs take a policy. Only the request context counts:
//! the gateway writes it, while every header comes from the caller.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cidr::{Allowed, Fault};

/// As far as it matters here; headers are not even read. What is missing or null denies.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Question {
    request_context: Option<RequestContext>,
    /// Of a REST API: the method that the policy is to be about.
    method_arn: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestContext {
    request_id: Option<String>,
    /// HTTP API
    http: Option<Source>,
    /// REST API
    identity: Option<Source>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Source {
    source_ip: Option<String>,
}

impl Question {
    fn request_id(&self) -> &str {
        self.request_context.as_ref().and_then(|context| context.request_id.as_deref()).unwrap_or_default()
    }

    fn source(&self) -> Option<&str> {
        let context = self.request_context.as_ref()?;
        let source = if self.method_arn.is_some() { &context.identity } else { &context.http };
        source.as_ref()?.source_ip.as_deref()
    }
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    #[serde(rename_all = "camelCase")]
    Simple { is_authorized: bool },
    #[serde(rename_all = "camelCase")]
    Policy { principal_id: &'static str, policy_document: PolicyDocument },
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyDocument {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: &'static str,
    resource: String,
}

/// Every denial is logged, with the address as the gateway saw it.
pub fn verdict(allowed: &Result<Allowed, Fault>, question: &Question, invocation: &str) -> Answer {
    let source = question.source().unwrap_or_default();
    let reason = match (allowed, source.parse::<IpAddr>()) {
        (Err(fault), _) => Some(fault.to_string()),
        (_, Err(_)) => Some("the request context has no usable source address: does API Gateway ask?".to_owned()),
        (Ok(allowed), Ok(address)) if !allowed.contains(address) => {
            Some("the address is in no network of AUTHD_SOURCE_CIDR".to_owned())
        }
        _ => None,
    };
    if let Some(reason) = &reason {
        tracing::warn!(invocation, request_id = question.request_id(), source, reason, "denied");
    }
    answer(question.method_arn.as_deref(), reason.is_none())
}

fn answer(method_arn: Option<&str>, is_authorized: bool) -> Answer {
    let Some(arn) = method_arn else { return Answer::Simple { is_authorized } };
    let effect = if is_authorized { "Allow" } else { "Deny" };
    let statement = [Statement { action: "execute-api:Invoke", effect, resource: arn.to_owned() }];
    // Not the caller's identity, which nobody knows: the check that it has passed.
    Answer::Policy {
        principal_id: "source-address",
        policy_document: PolicyDocument { version: "2012-10-17", statement },
    }
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
    fn a_rest_api_gets_a_policy_for_the_method_that_it_asks_about() {
        // As in AWS's sample of a REQUEST authorizer.
        let arn = "arn:aws:execute-api:us-east-1:123456789012:abcdef123/hooks/POST/hook";
        let event = |source: &str| {
            json!({
                "type": "REQUEST", "methodArn": arn, "resource": "/{proxy+}", "path": "/hook", "httpMethod": "POST",
                "headers": { "X-Forwarded-For": "192.0.2.1" },
                "requestContext": { "requestId": "id", "stage": "hooks", "identity": { "apiKey": null, "sourceIp": source } },
            })
        };
        let policy = |effect: &str| {
            let statement = json!([{ "Action": "execute-api:Invoke", "Effect": effect, "Resource": arn }]);
            json!({ "principalId": "source-address", "policyDocument": { "Version": "2012-10-17", "Statement": statement } })
        };
        assert_eq!(asked(event("192.0.2.1"), Some("192.0.2.0/24")), policy("Allow"));
        assert_eq!(asked(event("203.0.113.1"), Some("192.0.2.0/24")), policy("Deny"));
        assert_eq!(asked(event("192.0.2.1"), None), policy("Deny"));
    }

    #[test]
    fn headers_admit_nobody() {
        // They all claim 192.0.2.1.
        assert_eq!(asked(from("203.0.113.9"), Some("192.0.2.1/32")), json!({ "isAuthorized": false }));
        let without_context = json!({ "headers": { "x-forwarded-for": "192.0.2.1" } });
        assert_eq!(asked(without_context, Some("0.0.0.0/0,::/0")), json!({ "isAuthorized": false }));
    }

    #[test]
    fn a_question_without_an_address_is_answered_and_denied() {
        let contexts = [
            json!(null),
            json!({}),
            json!({ "requestId": null, "http": null, "identity": null }),
            json!({ "http": { "sourceIp": null }, "identity": { "sourceIp": null } }),
            json!({ "http": { "sourceIp": "" }, "identity": { "sourceIp": "test-invoke-source-ip" } }),
            json!({ "http": { "sourceIp": "192.0.2.1, 192.0.2.2" }, "identity": { "sourceIp": " 192.0.2.1" } }),
        ];
        for context in contexts {
            let denied = asked(json!({ "requestContext": context }), Some("0.0.0.0/0,::/0"));
            assert_eq!(denied, json!({ "isAuthorized": false }), "{context}");
            let denied = asked(json!({ "requestContext": context, "methodArn": "arn" }), Some("0.0.0.0/0,::/0"));
            assert_eq!(denied["policyDocument"]["Statement"][0]["Effect"], "Deny", "{context}");
        }
    }

    #[test]
    fn a_bad_or_missing_setting_denies_everybody() {
        for setting in [None, Some(""), Some("0.0.0.0/0,nonsense")] {
            assert_eq!(asked(from("192.0.2.1"), setting), json!({ "isAuthorized": false }), "{setting:?}");
        }
    }
}
