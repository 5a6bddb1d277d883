//! Tests who gets as far as the functions.
//!
//! That is decided by the firewall, the policy of the REST API, and the authorizer before every path.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webhook_stack::policy::{Request, contains, permits};
use webhook_stack::template::Template;

use crate::expanded::{expanded, template, variants};

const ADDRESSES: [(&str, bool); 6] = [
    ("192.0.2.1", true),
    ("198.51.100.7", true),
    ("203.0.113.1", false),
    ("198.51.100.8", false),
    ("2001:db8::1", false),
    ("::1", false),
];

/// What WAF does with a plain request from this address: the first rule that matches decides, else the default.
fn firewall(template: &Template, address: &str) -> Value {
    let acl = template.resource("WebAcl")["Properties"].take();
    let mut rules = acl["Rules"].as_array().expect("rules").clone();
    rules.sort_by_key(|rule| rule["Priority"].as_u64());
    let matched = rules.iter().find(|rule| matches(template, &rule["Statement"], address));
    matched.map_or(&acl["DefaultAction"], |rule| &rule["Action"]).clone()
}

fn matches(template: &Template, statement: &Value, address: &str) -> bool {
    let (kind, statement) = statement.as_object().and_then(|it| it.iter().next()).expect("a statement");
    match kind.as_str() {
        // It is the first request, and has nothing bad about it.
        "RateBasedStatement" | "ManagedRuleGroupStatement" => false,
        "OrStatement" => {
            let all = statement["Statements"].as_array().expect("statements");
            all.iter().any(|one| matches(template, one, address))
        }
        "IPSetReferenceStatement" => {
            let resources = template.resources();
            let arn = statement["Arn"].as_str().expect("an ARN");
            let (_, set) = resources.iter().find(|(name, _)| arn.ends_with(&format!(":{name}"))).expect("an IP set");
            let networks = set["Properties"]["Addresses"].as_array().expect("addresses");
            networks.iter().any(|network| contains(network.as_str().expect("text"), address))
        }
        other => panic!("{other} is not known here"),
    }
}

#[test]
fn the_firewall_lets_the_allowed_networks_pass_and_blocks_everybody_else() {
    for v6 in [false, true] {
        let networks = ("SourceCidrV6", if v6 { "2001:db8::/32" } else { "" });
        let template = template(&[("Firewall", "waf"), networks]);
        for (address, is_allowed) in ADDRESSES {
            let expected = is_allowed || (v6 && address == "2001:db8::1");
            let action = if expected { json!({ "Allow": {} }) } else { json!({ "Block": {} }) };
            assert_eq!(firewall(&template, address), action, "{address}, IPv6 {v6}");
        }
    }
}

#[test]
fn the_policy_of_the_rest_api_denies_strangers_before_the_authorizer_is_asked() {
    for v6 in [false, true] {
        let networks = ("SourceCidrV6", if v6 { "2001:db8::/32" } else { "" });
        let api = template(&[("Firewall", "waf"), networks]).resource("RestApi");
        let policy = &api["Properties"]["Body"]["x-amazon-apigateway-policy"]["Statement"];
        let statements = policy.as_array().expect("a policy");
        for (address, is_allowed) in ADDRESSES {
            let context = BTreeMap::from([("aws:sourceip", vec![address])]);
            let resource = "execute-api:/hooks/POST/hook";
            let request = Request { principal: "anybody", action: "execute-api:Invoke", resource, context };
            let expected = is_allowed || (v6 && address == "2001:db8::1");
            assert_eq!(permits(&[], statements, &request), expected, "{address}, IPv6 {v6}");
            // What the authorizer permits does not outweigh it.
            let of_authorizer = [json!({ "Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*" })];
            assert_eq!(permits(&of_authorizer, statements, &request), expected, "{address}, IPv6 {v6}");
        }
    }
}

#[test]
fn every_path_of_the_rest_api_asks_the_authorizer_and_keeps_no_answer() {
    for mode in ["sync", "async"] {
        let api = template(&[("Firewall", "waf"), ("Mode", mode)]).resource("RestApi");
        let body = &api["Properties"]["Body"];
        assert_eq!(body["x-amazon-apigateway-binary-media-types"], json!(["*/*"]));
        let authorizer = &body["securityDefinitions"]["source-address"]["x-amazon-apigateway-authorizer"];
        assert_eq!((&authorizer["type"], &authorizer["authorizerResultTtlInSeconds"]), (&json!("request"), &json!(0)));
        assert!(authorizer["authorizerUri"].to_string().contains("AuthorizerFunction"), "{authorizer}");
        let paths = body["paths"].as_object().expect("paths");
        assert_eq!(paths.keys().collect::<Vec<_>>(), ["/", "/{proxy+}"]);
        for (path, methods) in paths {
            assert_eq!(methods.as_object().map(|methods| methods.len()), Some(1), "{path}");
            let method = &methods["x-amazon-apigateway-any-method"];
            assert_eq!(method["security"], json!([{ "source-address": [] }]), "{path}");
            let function = if mode == "async" { "ReceiverFunction" } else { "ForwarderFunction" };
            assert!(method["x-amazon-apigateway-integration"]["uri"].to_string().contains(function), "{path}: {mode}");
        }
    }
}

/// A stage serves what was deployed last: a changed network or function would wait for somebody to deploy it by hand.
#[test]
fn the_deployment_of_the_rest_api_is_renewed_with_the_stack() {
    let ids = |json: &str| {
        let whole: Value = serde_json::from_str(json).expect("JSON");
        let all = whole["Resources"].as_object().expect("resources").iter();
        let found = all.filter(|(_, it)| it["Type"] == "AWS::ApiGateway::Deployment").map(|(name, _)| name.clone());
        (found.collect::<Vec<_>>(), whole["Resources"]["RestApihooksStage"]["Properties"]["DeploymentId"].clone())
    };
    let ((now, of_stage), (later, of_later_stage)) = (ids(&expanded("template")), ids(&expanded("template-later")));
    assert_eq!((now.len(), later.len()), (1, 1));
    assert_ne!(now, later);
    assert_eq!((of_stage, of_later_stage), (json!({ "Ref": now[0] }), json!({ "Ref": later[0] })));
}

#[test]
fn ipv6_is_spoken_where_an_ipv6_network_may_call() {
    for (v6, expected) in [("", "ipv4"), ("2001:db8::/32", "dualstack")] {
        let of = |firewall: &str| template(&[("SourceCidrV6", v6), ("Firewall", firewall)]);
        assert_eq!(of("none").resource("Api")["Properties"]["IpAddressType"], expected);
        assert_eq!(of("waf").resource("RestApi")["Properties"]["EndpointConfiguration"]["IpAddressType"], expected);
        let cidr = of("none").resource("AuthorizerFunction")["Properties"]["Environment"]["Variables"].take();
        let allowed = webhook_authorizer::Allowed::read(cidr["AUTHD_SOURCE_CIDR"].as_str()).expect("networks");
        assert_eq!(allowed.contains("2001:db8::1".parse().expect("an address")), !v6.is_empty());
    }
}

/// Everybody who signs nothing is let in only by who says so.
#[test]
fn the_scheme_of_the_signature_must_be_named() {
    let whole: Value = serde_json::from_str(&expanded("template")).expect("JSON");
    assert!(whole["Parameters"]["SignatureScheme"]["Default"].is_null());
    for (name, template) in variants() {
        let functions = ["ForwarderFunction", "ReceiverFunction"].into_iter();
        for function in functions.filter(|function| template.resources().contains_key(*function)) {
            let variables = template.resource(function)["Properties"]["Environment"]["Variables"].take();
            assert_ne!(variables["SIGNATURE_SCHEME"], "", "{name}: {function}");
        }
    }
}
