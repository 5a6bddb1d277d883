//! Tests who may read and write the secrets.
//!
//! That follows from the statements of the roles and of the secrets' own policies together.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webhook_stack::policy::{Request, permits};
use webhook_stack::template::{Template, role, secret};

use crate::expanded::{AUDIENCE, BY_CLIENT, BY_IDENTITY, WRITER, rotated, template, variants};

const CURRENT: (&str, &str) = ("secretsmanager:versionstage", "AWSCURRENT");
const PREVIOUS: (&str, &str) = ("secretsmanager:versionstage", "AWSPREVIOUS");
const BY_STACK: (&str, &str) = ("aws:calledvia", "cloudformation.amazonaws.com");
const GET: &str = "secretsmanager:GetSecretValue";
const PUT: &str = "secretsmanager:PutSecretValue";
const STAGE: &str = "secretsmanager:UpdateSecretVersionStage";
const UPDATE: &str = "secretsmanager:UpdateSecret";
/// Not of the stack, with every permission that IAM has: who puts the credentials in, the role of CloudFormation that deploy-role.yaml makes, and
/// any administrator.
const OUTSIDERS: [&str; 3] = [OPERATOR, CLOUDFORMATION, ADMINISTRATOR];
const OPERATOR: &str = "Operator";
const CLOUDFORMATION: &str = "CloudFormation";
const ADMINISTRATOR: &str = "Administrator";

fn principal(name: &str) -> String {
    match name {
        OPERATOR => WRITER.to_owned(),
        CLOUDFORMATION => "arn:aws:iam::123456789012:role/webhook-deploy/webhook-cloudformation".to_owned(),
        name => role(name),
    }
}

/// What the policies of a role say.
pub fn identity(template: &Template, name: &str) -> Vec<Value> {
    if OUTSIDERS.contains(&name) {
        return vec![json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })];
    }
    let role = template.resource(name);
    // Nobody here knows what they say.
    assert!(role["Properties"]["ManagedPolicyArns"].is_null(), "{name} has managed policies");
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
    let (principal, resource) = (principal(who), secret(name));
    let request = Request { principal: &principal, action, resource: &resource, context };
    permits(&identity(template, who), &of_secret(template, name), &request)
}

/// The roles of the stack, and those outside.
fn everybody(template: &Template) -> Vec<String> {
    let resources = template.resources();
    let roles = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::IAM::Role");
    roles.map(|(name, _)| name.clone()).chain(OUTSIDERS.map(str::to_owned)).collect()
}

fn who(template: &Template, action: &'static str, name: &str, with: &[(&'static str, &'static str)]) -> Vec<String> {
    everybody(template).into_iter().filter(|who| may(template, who, action, name, with)).collect()
}

#[test]
fn the_auth_key_is_read_by_the_forwarder_as_it_is_now_and_by_the_rotation() {
    for (name, template) in rotated() {
        assert_eq!(who(&template, GET, "AuthKey", &[CURRENT]), ["ForwarderRole", "RotationRole"], "{name}");
        assert_eq!(who(&template, GET, "AuthKey", &[PREVIOUS]), ["RotationRole"], "{name}");
        // The rotation asks by version; tetherd names the stage.
        assert_eq!(who(&template, GET, "AuthKey", &[]), ["RotationRole"], "{name}");
    }
}

#[test]
fn the_auth_key_is_written_by_the_rotation_alone() {
    for (name, template) in rotated() {
        for action in [PUT, STAGE] {
            assert_eq!(who(&template, action, "AuthKey", &[]), ["RotationRole"], "{name}: {action}");
        }
        assert_eq!(who(&template, UPDATE, "AuthKey", &[]), [CLOUDFORMATION], "{name}");
    }
}

#[test]
fn nobody_is_locked_out_of_managing_the_stack() {
    for (name, template) in rotated() {
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
fn the_credentials_are_put_in_by_one_operator_and_read_by_who_makes_keys_alone() {
    let by_client = ("client", template(&[BY_CLIENT]));
    for (name, template) in rotated().into_iter().chain([by_client]) {
        let reader = if name == "client" { "ForwarderRole" } else { "RotationRole" };
        assert_eq!(who(&template, GET, "OAuthClient", &[CURRENT]), [reader], "{name}");
        for action in [PUT, STAGE] {
            assert_eq!(who(&template, action, "OAuthClient", &[]), [OPERATOR], "{name}: {action}");
        }
        assert_eq!(who(&template, UPDATE, "OAuthClient", &[]), [CLOUDFORMATION], "{name}");
    }
}

#[test]
fn keys_of_minutes_need_no_stored_key_and_with_an_identity_no_secret_at_all() {
    let secrets = |template: &Template| -> Vec<String> {
        let resources = template.resources().into_iter();
        let secrets = resources.filter(|(_, resource)| resource["Type"] == "AWS::SecretsManager::Secret");
        secrets.map(|(name, _)| name).collect()
    };
    for (given, kept) in [(&[BY_CLIENT][..], &["OAuthClient"][..]), (&BY_IDENTITY, &[])] {
        let template = template(given);
        assert_eq!(secrets(&template), kept);
        let resources = template.resources();
        assert!(!resources.keys().any(|name| name.contains("Rotation") || name.contains("Key")), "{given:?}");
    }
    let template = template(&BY_IDENTITY);
    let may = |who: &str, audiences: &[&'static str]| {
        let context = BTreeMap::from([("sts:identitytokenaudience", audiences.to_vec())]);
        let (principal, action) = (principal(who), "sts:GetWebIdentityToken");
        permits(&identity(&template, who), &[], &Request { principal: &principal, action, resource: "*", context })
    };
    assert!(may("ForwarderRole", &[AUDIENCE]) && !may("AuthorizerRole", &[AUDIENCE]));
    for audiences in [&["sts.amazonaws.com"][..], &[AUDIENCE, "sts.amazonaws.com"], &[]] {
        assert!(!may("ForwarderRole", audiences), "{audiences:?}");
    }
}

#[test]
fn the_signing_secret_is_read_by_the_function_behind_the_endpoint_alone() {
    let signed = ("SignatureScheme", "github");
    for (mode, reader) in [("sync", "ForwarderRole"), ("async", "ReceiverRole")] {
        let template = template(&[signed, ("Mode", mode)]);
        assert_eq!(who(&template, GET, "SignatureSecret", &[CURRENT]), [reader], "{mode}");
        for action in [PUT, STAGE] {
            assert_eq!(who(&template, action, "SignatureSecret", &[]), [OPERATOR], "{mode}: {action}");
        }
        assert_eq!(who(&template, UPDATE, "SignatureSecret", &[]), [CLOUDFORMATION], "{mode}");
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
        for who in everybody(&template).iter().filter(|who| !OUTSIDERS.contains(&who.as_str())) {
            for statement in identity(&template, who) {
                // The streams of a log group are behind its name.
                let resource = statement["Resource"].to_string().replace(":*\"", "\"");
                // It has no resource.
                if statement["Action"] == "sts:GetWebIdentityToken" && statement["Resource"] == "*" {
                    continue;
                }
                assert!(!resource.contains('*'), "{name}: {who}: {statement}");
                assert!(!statement["Action"].to_string().contains('*'), "{name}: {who}: {statement}");
            }
        }
    }
}
