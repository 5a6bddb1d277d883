//! Tests the boundary of deploy-role.yaml.
//!
//! It says what no role of the stack may exceed, and has what each of them needs.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webhook_stack::policy::{Request, permits_within};
use webhook_stack::template::{arn, role, secret};

use crate::deploy_role::{BOUNDARY, deploy_role};
use crate::expanded::{KEY, template, variants};
use crate::policies::identity;

fn boundary() -> Vec<Value> {
    let policy = deploy_role().resource("Boundary");
    policy["Properties"]["PolicyDocument"]["Statement"].as_array().expect("statements").clone()
}

/// A boundary takes nothing from the roles of the stack, and a role that permits itself everything is left with what is the stack's.
#[test]
fn the_boundary_fits_the_roles_of_the_stack_and_nothing_else() {
    let boundary = boundary();
    for (name, template) in variants() {
        let resources = template.resources();
        for (who, _) in resources.iter().filter(|(_, it)| it["Type"] == "AWS::IAM::Role") {
            let own = identity(&template, who);
            for statement in &own {
                assert_eq!(statement["Effect"], "Allow", "{name}: {who}");
                for Call { action, on, context } in granted(statement) {
                    let request = Request { principal: &role(who), action: &action, resource: &on, context };
                    assert!(permits_within(&boundary, &own, &[], &request), "{name}: {who}: {action} on {on}");
                }
            }
        }
    }
    let everything = [json!({ "Effect": "Allow", "Action": "*", "Resource": "*" })];
    for (action, resource) in [
        ("iam:CreateRole", "arn:aws:iam::123456789012:role/webhook-x".to_owned()),
        ("sts:AssumeRole", "arn:aws:iam::123456789012:role/Administrator".to_owned()),
        ("secretsmanager:GetSecretValue", arn("secretsmanager", "secret:other-AbCdEf")),
        ("secretsmanager:PutResourcePolicy", secret("AuthKey")),
        ("s3:GetObject", "arn:aws:s3:::another/key".to_owned()),
        ("sts:GetWebIdentityToken", "*".to_owned()),
        ("kms:Decrypt", KEY.to_owned()),
        ("lambda:UpdateFunctionCode", arn("lambda", "function:webhook-ForwarderFunction-1")),
    ] {
        let request =
            Request { principal: &role("ForwarderRole"), action, resource: &resource, context: BTreeMap::new() };
        assert!(!permits_within(&boundary, &everything, &[], &request), "{action} on {resource}");
    }
}

/// A call that a statement permits, with the context that it asks for.
struct Call<'a> {
    action: String,
    on: String,
    context: BTreeMap<&'static str, Vec<&'a str>>,
}

fn granted(statement: &Value) -> Vec<Call<'_>> {
    let texts = |value: &Value| match value {
        Value::Array(all) => all.iter().map(|one| one.as_str().expect("text").to_owned()).collect::<Vec<_>>(),
        one => vec![one.as_str().expect("text").to_owned()],
    };
    let keys = [
        ("StringEquals", "secretsmanager:VersionStage", "secretsmanager:versionstage"),
        ("StringEquals", "kms:ViaService", "kms:viaservice"),
        ("StringEquals", "kms:EncryptionContext:SecretARN", "kms:encryptioncontext:secretarn"),
        ("ForAllValues:StringEquals", "sts:IdentityTokenAudience", "sts:identitytokenaudience"),
    ];
    let mut context = BTreeMap::new();
    for (operator, key, name) in keys {
        let wanted = &statement["Condition"][operator][key];
        let value = wanted.as_str().or_else(|| wanted[0].as_str());
        context.extend(value.map(|value| (name, vec![value])));
    }
    let mut calls = Vec::new();
    for action in texts(&statement["Action"]) {
        let on_each = texts(&statement["Resource"]).into_iter();
        calls.extend(on_each.map(|on| Call { action: action.clone(), on, context: context.clone() }));
    }
    calls
}

#[test]
fn the_roles_of_the_stack_have_the_boundary_that_is_named() {
    let template = template(&[("PermissionsBoundaryArn", BOUNDARY), ("Mode", "async")]);
    let resources = template.resources();
    let roles: Vec<_> = resources.iter().filter(|(_, it)| it["Type"] == "AWS::IAM::Role").collect();
    assert_eq!(roles.len(), 4);
    for (name, role) in roles {
        assert_eq!(role["Properties"]["PermissionsBoundary"], BOUNDARY, "{name}");
    }
}
