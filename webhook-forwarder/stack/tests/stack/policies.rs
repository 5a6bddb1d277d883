//! Tests who may read and write the secrets.
//!
//! That follows from the statements of the roles and of the secrets' own policies together.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webhook_stack::policy::{Request, permits};
use webhook_stack::template::{Template, role, secret};

use crate::expanded::{template, variants};

const CURRENT: (&str, &str) = ("secretsmanager:versionstage", "AWSCURRENT");
const PREVIOUS: (&str, &str) = ("secretsmanager:versionstage", "AWSPREVIOUS");
const BY_STACK: (&str, &str) = ("aws:calledvia", "cloudformation.amazonaws.com");
const GET: &str = "secretsmanager:GetSecretValue";
const PUT: &str = "secretsmanager:PutSecretValue";
const STAGE: &str = "secretsmanager:UpdateSecretVersionStage";
const UPDATE: &str = "secretsmanager:UpdateSecret";
/// Not of the stack: whoever may do everything, such as who deploys it.
const ADMINISTRATOR: &str = "Administrator";

fn identity(template: &Template, name: &str) -> Vec<Value> {
    if name == ADMINISTRATOR {
        return vec![json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })];
    }
    let role = template.resource(name);
    // Managed policies here write logs, and nothing else.
    for policy in role["Properties"]["ManagedPolicyArns"].as_array().into_iter().flatten() {
        assert!(policy.as_str().is_some_and(|arn| arn.ends_with("AWSLambdaBasicExecutionRole")), "{name}: {policy}");
    }
    let policies = role["Properties"]["Policies"].as_array().cloned().unwrap_or_default();
    let statements = policies.iter().flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array());
    statements.flatten().cloned().collect()
}

fn of_secret(template: &Template, name: &str) -> Vec<Value> {
    let policy = template.resource(&format!("{name}Policy"));
    assert_eq!(policy["Properties"]["SecretId"], secret(name));
    policy["Properties"]["ResourcePolicy"]["Statement"].as_array().expect("statements").clone()
}

fn may(
    template: &Template,
    who: &str,
    action: &'static str,
    name: &str,
    with: &[(&'static str, &'static str)],
) -> bool {
    let context: BTreeMap<_, _> = with.iter().map(|(key, value)| (*key, vec![*value])).collect();
    let (principal, resource) = (role(who), secret(name));
    let request = Request { principal: &principal, action, resource: &resource, context };
    permits(&identity(template, who), &of_secret(template, name), &request)
}

/// The roles of the stack, and the administrator.
fn everybody(template: &Template) -> Vec<String> {
    let resources = template.resources();
    let roles = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::IAM::Role");
    roles.map(|(name, _)| name.clone()).chain([ADMINISTRATOR.to_owned()]).collect()
}

fn who(template: &Template, action: &'static str, name: &str, with: &[(&'static str, &'static str)]) -> Vec<String> {
    everybody(template).into_iter().filter(|who| may(template, who, action, name, with)).collect()
}

#[test]
fn the_auth_key_is_read_by_the_forwarder_as_it_is_now_and_by_the_rotation() {
    for (name, template) in variants() {
        assert_eq!(who(&template, GET, "AuthKey", &[CURRENT]), ["ForwarderRole", "RotationRole"], "{name}");
        assert_eq!(who(&template, GET, "AuthKey", &[PREVIOUS]), ["RotationRole"], "{name}");
        // The rotation asks by version; tetherd names the stage.
        assert_eq!(who(&template, GET, "AuthKey", &[]), ["RotationRole"], "{name}");
    }
}

#[test]
fn the_auth_key_is_written_by_the_rotation_alone() {
    for (name, template) in variants() {
        for action in [PUT, STAGE] {
            assert_eq!(who(&template, action, "AuthKey", &[]), ["RotationRole"], "{name}: {action}");
        }
        assert!(who(&template, UPDATE, "AuthKey", &[]).is_empty(), "{name}");
    }
}

#[test]
fn nobody_is_locked_out_of_managing_the_stack() {
    for (name, template) in variants() {
        for secret in ["AuthKey", "OAuthClient"] {
            for action in [
                "secretsmanager:PutResourcePolicy",
                "secretsmanager:DeleteResourcePolicy",
                "secretsmanager:DescribeSecret",
                "secretsmanager:RotateSecret",
                "secretsmanager:CancelRotateSecret",
                "secretsmanager:TagResource",
                "secretsmanager:DeleteSecret",
            ] {
                assert_eq!(who(&template, action, secret, &[]).last().expect("one"), ADMINISTRATOR, "{name}: {action}");
            }
            assert!(may(&template, ADMINISTRATOR, UPDATE, secret, &[BY_STACK]), "{name}: a stack update");
        }
    }
}

#[test]
fn the_credentials_are_put_in_by_an_administrator_and_read_by_the_rotation_alone() {
    for (name, template) in variants() {
        assert_eq!(who(&template, GET, "OAuthClient", &[CURRENT]), ["RotationRole"], "{name}");
        assert_eq!(who(&template, PUT, "OAuthClient", &[]), [ADMINISTRATOR], "{name}");
    }
}

#[test]
fn the_signing_secret_is_read_by_the_function_behind_the_endpoint_alone() {
    let signed = ("SignatureScheme", "github");
    for (mode, reader) in [("sync", "ForwarderRole"), ("async", "ReceiverRole")] {
        let template = template(&[signed, ("Mode", mode)]);
        assert_eq!(who(&template, GET, "SignatureSecret", &[CURRENT]), [reader], "{mode}");
        assert_eq!(who(&template, PUT, "SignatureSecret", &[]), [ADMINISTRATOR], "{mode}");
    }
}

#[test]
fn every_secret_has_a_policy_and_no_role_a_wildcard() {
    for (name, template) in variants() {
        let resources = template.resources();
        for (secret, resource) in resources.iter().filter(|(_, it)| it["Type"] == "AWS::SecretsManager::Secret") {
            let policy = &resources[&format!("{secret}Policy")];
            assert_eq!(policy["Properties"]["BlockPublicPolicy"], true, "{name}: {secret}");
            // What stands in a template is no secret.
            assert!([json!(null), json!("{}")].contains(&resource["Properties"]["SecretString"]), "{name}: {secret}");
        }
        for who in everybody(&template).iter().filter(|who| *who != ADMINISTRATOR) {
            for statement in identity(&template, who) {
                assert!(!statement["Resource"].to_string().contains('*'), "{name}: {who}: {statement}");
                assert!(!statement["Action"].to_string().contains('*'), "{name}: {who}: {statement}");
            }
        }
    }
}
