//! Tests how the functions are wired: environment, events, and ways to them.
//!
//! What they find in their environment, what their events are, and which way leads to them.

use std::time::SystemTime;

use serde_json::{Value, json};
use webhook_authorizer::Allowed;
use webhook_rotation::expiry;
use webhook_rotation::step::{Event, Step};
use webhook_stack::template::{Template, secret};

use crate::expanded::{BY_CLIENT, BY_IDENTITY, template, variants};

fn variable(template: &Template, function: &str, name: &str) -> Option<String> {
    let value = template.resource(function)["Properties"]["Environment"]["Variables"][name].take();
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

#[test]
fn every_function_can_use_the_environment_that_it_gets() {
    for (name, template) in variants() {
        let of = |function: &'static str| {
            let template = &template;
            move |variable: &str| self::variable(template, function, variable)
        };
        let forwarder = webhook_forwarder::settings::Settings::read(of("ForwarderFunction"));
        let forwarder = forwarder.unwrap_or_else(|faults| panic!("{name}: {faults}"));
        assert_eq!(forwarder.target.expect("a target").authority.as_str(), "web:80", "{name}");
        if template.resources().contains_key("RotationFunction") {
            let rotation = webhook_rotation::settings::Settings::read(of("RotationFunction"));
            assert_eq!(rotation.unwrap_or_else(|faults| panic!("{name}: {faults}")).credentials, secret("OAuthClient"));
        }
        let cidr = variable(&template, "AuthorizerFunction", "AUTHD_SOURCE_CIDR");
        let allowed = Allowed::read(cidr.as_deref()).expect(name);
        assert!(allowed.contains("192.0.2.1".parse().expect("an address")), "{name}");
        if template.resources().contains_key("ReceiverFunction") {
            let receiver = webhook_forwarder::settings::Settings::read(of("ReceiverFunction"));
            let receiver = receiver.unwrap_or_else(|faults| panic!("{name}: {faults}"));
            assert!(receiver.queue_url.is_some() && receiver.target.is_none(), "{name}");
        }
    }
}

/// What the layer finds in the forwarder's environment.
#[test]
fn the_layer_has_one_source_of_keys_and_the_tag_that_they_are_for() {
    let names = ["AUTH_SECRET", "OAUTH_CLIENT_ID", "ID_TOKEN_AUDIENCE", "TAGS"];
    let (tag, [_, (_, id), (_, audience)]) = ("tag:webhook".to_owned(), BY_IDENTITY);
    let by_identity = [None, Some(id.to_owned()), Some(audience.to_owned()), Some(tag.clone())];
    for (given, expected) in [
        (&[][..], [Some(secret("AuthKey")), None, None, None]),
        (&[BY_CLIENT], [Some(secret("OAuthClient")), None, None, Some(tag)]),
        (&BY_IDENTITY, by_identity),
    ] {
        let template = template(given);
        let found = names.map(|name| variable(&template, "ForwarderFunction", &format!("TETHERD_{name}")));
        assert_eq!(found, expected, "{given:?}");
    }
}

/// Where requests are verified, and nowhere else, so that none is let through or read twice.
#[test]
fn one_function_checks_signatures() {
    let verifies = |template: &Template| {
        let functions = ["ForwarderFunction", "ReceiverFunction"].into_iter();
        let there = functions.filter(|function| template.resources().contains_key(*function));
        there.filter(|it| variable(template, it, "SIGNATURE_SECRET_ARN").is_some_and(|arn| !arn.is_empty())).collect()
    };
    let signed = ("SignatureScheme", "github");
    let found: Vec<Vec<&str>> = vec![
        verifies(&template(&[])),
        verifies(&template(&[signed])),
        verifies(&template(&[signed, ("Mode", "async")])),
    ];
    assert_eq!(found, [vec![], vec!["ForwarderFunction"], vec!["ReceiverFunction"]]);
}

#[test]
fn the_alarm_watches_the_metric_that_the_rotation_writes() {
    let template = template(&[]);
    let alarm = template.resource("KeyExpiresSoon")["Properties"].take();
    let line = expiry::line("RotationFunction", 30, SystemTime::now());
    let directive = &line["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(alarm["Namespace"], directive["Namespace"]);
    assert_eq!(alarm["MetricName"], directive["Metrics"][0]["Name"]);
    assert_eq!(alarm["Dimensions"], json!([{ "Name": directive["Dimensions"][0][0], "Value": line["FunctionName"] }]));
    let target = template.resource("KeyCheck")["Properties"]["Targets"][0].take();
    let event: Event = serde_json::from_str(target["Input"].as_str().expect("text")).expect("an event");
    assert_eq!((event.step, event.secret_id), (Step::CheckKey, secret("AuthKey")));
}

#[test]
fn rotation_is_switched_on_when_it_is_permitted_and_asks_nothing_of_an_empty_stack() {
    let schedule = template(&[]).resource("RotationSchedule");
    assert_eq!(schedule["DependsOn"], json!(["RotationPermission", "AuthKeyPolicy"]));
    let properties = &schedule["Properties"];
    assert_eq!(properties["RotationRules"]["AutomaticallyAfterDays"], 60);
    assert_eq!(properties["RotateImmediatelyOnUpdate"], false, "the credentials come later");
}

#[test]
fn one_way_leads_to_the_functions_and_the_firewall_stands_before_it() {
    let kinds = |firewall: &str| -> Vec<String> {
        let resources = template(&[("Firewall", firewall)]).resources();
        resources.values().filter_map(|resource| resource["Type"].as_str().map(str::to_owned)).collect()
    };
    let has = |kinds: &[String], kind: &str| kinds.iter().any(|known| known.starts_with(kind));
    let (without, with) = (kinds("none"), kinds("waf"));
    assert!(
        has(&without, "AWS::ApiGatewayV2::") && !has(&without, "AWS::ApiGateway::") && !has(&without, "AWS::WAFv2")
    );
    assert!(has(&with, "AWS::ApiGateway::") && !has(&with, "AWS::ApiGatewayV2::"));
    let template = template(&[("Firewall", "waf")]);
    let association = template.resource("WebAclAssociation");
    assert!(
        association["Properties"]["ResourceArn"].to_string().contains("/restapis/RestApi/stages/RestApihooksStage")
    );
}

#[test]
fn functions_are_small_and_new_and_the_dashboard_is_json() {
    for (name, template) in variants() {
        let resources = template.resources();
        for (function, resource) in resources.iter().filter(|(_, it)| it["Type"] == "AWS::Lambda::Function") {
            let properties = &resource["Properties"];
            assert_eq!(properties["Runtime"], "provided.al2023", "{name}: {function}");
            assert_eq!(properties["Architectures"], json!(["arm64"]), "{name}: {function}");
        }
        assert_eq!(resources["ForwarderFunction"]["Properties"]["MemorySize"], 256);
        let body = resources["Dashboard"]["Properties"]["DashboardBody"].as_str().expect("text");
        let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(body["widgets"].as_array().is_some_and(|widgets| !widgets.is_empty()), "{name}");
    }
}
