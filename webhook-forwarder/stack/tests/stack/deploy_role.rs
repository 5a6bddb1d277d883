//! Tests what the roles of deploy-role.yaml can do.
//!
//! They change the stack, and nothing that would make more of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webhook_stack::policy::{Request, permits};
use webhook_stack::template::{STACK, Template, arn, role, secret};

use crate::expanded::{AUDIENCE, KEY, expanded, variants};
use crate::policies::identity;

pub const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/webhook-deploy/webhook-boundary";
const STACK_ROLE: &str = "arn:aws:iam::123456789012:role/webhook-deploy/webhook-cloudformation";
const DEPLOY_ROLE: &str = "arn:aws:iam::123456789012:role/webhook-deploy/deploy-DeployRole-1A2B3C4D5E6F";
const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const BOUNDED: (&str, &str) = ("iam:permissionsboundary", BOUNDARY);
const TO_LAMBDA: (&str, &str) = ("iam:passedtoservice", "lambda.amazonaws.com");
const TO_CLOUDFORMATION: (&str, &str) = ("iam:passedtoservice", "cloudformation.amazonaws.com");

type Context<'a> = &'a [(&'static str, &'a str)];

pub fn deploy_role() -> Template {
    let given =
        [("Repository", "owner/name"), ("StackName", STACK), ("KmsKeyArn", KEY), ("FederatedAudience", AUDIENCE)];
    Template::new(&expanded("deploy-role"), &given)
}

fn may(who: &str, action: &str, resource: &str, context: Context<'_>) -> bool {
    let context = context.iter().map(|(key, value)| (*key, vec![*value])).collect::<BTreeMap<_, _>>();
    let request = Request { principal: who, action, resource, context };
    permits(&identity(&deploy_role(), who), &[], &request)
}

#[test]
fn the_workflow_changes_one_stack_with_the_role_of_cloudformation_alone() {
    let own = arn("cloudformation", "stack/webhook/00000000-0000-4000-8000-000000000000");
    let other = arn("cloudformation", "stack/other/00000000-0000-4000-8000-000000000000");
    let with = |role: &'static str| [("cloudformation:rolearn", role)];
    let may = |action: &str, resource: &str, context: Context<'_>| may("DeployRole", action, resource, context);
    assert!(may("cloudformation:CreateChangeSet", &own, &with(STACK_ROLE)));
    assert!(may("cloudformation:ExecuteChangeSet", &own, &[]));
    assert!(may("iam:PassRole", STACK_ROLE, &[TO_CLOUDFORMATION]));
    let refused: [(&str, &str, Context<'_>); 16] = [
        ("cloudformation:CreateChangeSet", &own, &[]),
        ("cloudformation:CreateChangeSet", &own, &with(DEPLOY_ROLE)),
        ("cloudformation:CreateChangeSet", &other, &with(STACK_ROLE)),
        ("cloudformation:ExecuteChangeSet", &other, &[]),
        ("cloudformation:CreateStack", &own, &with(STACK_ROLE)),
        ("cloudformation:UpdateStack", &own, &[]),
        ("cloudformation:DeleteStack", &own, &[]),
        ("cloudformation:SetStackPolicy", &own, &[]),
        ("iam:PassRole", STACK_ROLE, &[TO_LAMBDA]),
        ("iam:PassRole", STACK_ROLE, &[]),
        ("iam:PassRole", &role("ForwarderRole"), &[TO_CLOUDFORMATION]),
        ("sts:AssumeRole", STACK_ROLE, &[]),
        ("iam:CreateRole", &role("ForwarderRole"), &[BOUNDED]),
        ("lambda:UpdateFunctionCode", &arn("lambda", "function:webhook-ForwarderFunction-1"), &[]),
        ("secretsmanager:GetSecretValue", &secret("AuthKey"), &[]),
        ("s3:GetObject", "arn:aws:s3:::another-bucket/key", &[]),
    ];
    for (action, resource, context) in refused {
        assert!(!may(action, resource, context), "{action} on {resource} with {context:?}");
    }
}

/// What has made the old role an administrator: permissions for roles without a bound.
#[test]
fn nobody_gives_more_away_than_the_boundary() {
    let own = role("ForwarderRole");
    for who in ["StackRole", "DeployRole"] {
        let refused: [(&str, &str, Context<'_>); 22] = [
            ("iam:CreateRole", &own, &[]),
            ("iam:CreateRole", &own, &[("iam:permissionsboundary", ADMINISTRATOR)]),
            ("iam:PutRolePolicy", &own, &[]),
            ("iam:PutRolePolicy", &own, &[("iam:permissionsboundary", ADMINISTRATOR)]),
            ("iam:AttachRolePolicy", &own, &[("iam:policyarn", ADMINISTRATOR)]),
            ("iam:AttachRolePolicy", &own, &[("iam:policyarn", ADMINISTRATOR), BOUNDED]),
            ("iam:PutRolePermissionsBoundary", &own, &[("iam:permissionsboundary", ADMINISTRATOR)]),
            ("iam:DeleteRolePermissionsBoundary", &own, &[BOUNDED]),
            ("iam:PassRole", &own, &[("iam:passedtoservice", "ec2.amazonaws.com")]),
            ("iam:PassRole", &own, &[TO_CLOUDFORMATION]),
            ("iam:PassRole", &own, &[]),
            ("iam:PassRole", "arn:aws:iam::123456789012:role/Administrator", &[TO_LAMBDA]),
            ("iam:CreateRole", "arn:aws:iam::123456789012:role/Other", &[BOUNDED]),
            ("iam:PutRolePolicy", STACK_ROLE, &[BOUNDED]),
            ("iam:UpdateAssumeRolePolicy", STACK_ROLE, &[]),
            ("iam:UpdateAssumeRolePolicy", DEPLOY_ROLE, &[]),
            ("iam:PassRole", STACK_ROLE, &[TO_LAMBDA]),
            ("iam:CreatePolicyVersion", BOUNDARY, &[]),
            ("iam:SetDefaultPolicyVersion", BOUNDARY, &[]),
            ("iam:DeletePolicy", BOUNDARY, &[]),
            ("iam:CreateUser", "arn:aws:iam::123456789012:user/webhook-user", &[]),
            ("sts:AssumeRole", &own, &[]),
        ];
        for (action, resource, context) in refused {
            assert!(!may(who, action, resource, context), "{who}: {action} on {resource} with {context:?}");
        }
    }
}

#[test]
fn cloudformation_reaches_nothing_beyond_the_stack() {
    let refused = [
        ("lambda:UpdateFunctionCode", arn("lambda", "function:other")),
        ("lambda:InvokeFunction", arn("lambda", "function:webhook-ForwarderFunction-1")),
        ("secretsmanager:GetSecretValue", secret("AuthKey")),
        ("secretsmanager:PutSecretValue", secret("OAuthClient")),
        ("secretsmanager:DeleteSecret", arn("secretsmanager", "secret:other-AbCdEf")),
        ("sqs:ReceiveMessage", arn("sqs", "webhook-Queue-1")),
        ("sqs:DeleteQueue", arn("sqs", "other")),
        ("logs:GetLogEvents", arn("logs", "log-group:webhook-ForwarderLog-1")),
        ("logs:DeleteLogGroup", arn("logs", "log-group:other")),
        ("s3:PutObject", "arn:aws:s3:::artifacts/key".to_owned()),
        ("s3:GetObject", "arn:aws:s3:::another/key".to_owned()),
        ("kms:Decrypt", KEY.to_owned()),
        ("kms:PutKeyPolicy", KEY.to_owned()),
        ("ec2:RunInstances", arn("ec2", "instance/*")),
        ("apigateway:POST", "arn:aws:apigateway:eu-central-1::/apikeys".to_owned()),
        ("apigateway:PATCH", "arn:aws:apigateway:eu-central-1::/account".to_owned()),
        ("events:PutRule", arn("events", "rule/other")),
        ("cloudwatch:DeleteAlarms", arn("cloudwatch", "alarm:other")),
        ("wafv2:UpdateWebACL", arn("wafv2", "regional/webacl/other/1")),
        ("cloudformation:CreateStack", arn("cloudformation", "stack/other/1")),
    ];
    for (action, resource) in refused {
        assert!(!may("StackRole", action, &resource, &[]), "{action} on {resource}");
    }
}

/// One call that makes each kind of resource, with the name that CloudFormation gives it.
fn making(kind: &str, id: &str, resource: &Value) -> Option<(&'static str, String)> {
    let named = |service: &str, kind: &str| arn(service, &format!("{kind}{STACK}-{id}-1A2B3C4D5E6F"));
    let given = |field: &str| resource["Properties"][field].as_str().expect("a name").to_owned();
    Some(match kind {
        "AWS::IAM::Role" => ("iam:CreateRole", role(id)),
        "AWS::Lambda::Function" => ("lambda:CreateFunction", named("lambda", "function:")),
        "AWS::SQS::Queue" => ("sqs:CreateQueue", named("sqs", "")),
        "AWS::Logs::LogGroup" => {
            let name = resource["Properties"]["LogGroupName"].as_str().map(str::to_owned);
            let name = name.unwrap_or_else(|| format!("{STACK}-{id}-1A2B3C4D5E6F"));
            ("logs:CreateLogGroup", arn("logs", &format!("log-group:{name}")))
        }
        "AWS::SecretsManager::Secret" => {
            ("secretsmanager:CreateSecret", arn("secretsmanager", &format!("secret:{}-AbCdEf", given("Name"))))
        }
        "AWS::Events::Rule" => ("events:PutRule", named("events", "rule/")),
        "AWS::CloudWatch::Alarm" => ("cloudwatch:PutMetricAlarm", named("cloudwatch", "alarm:")),
        "AWS::CloudWatch::Dashboard" => {
            let name = given("DashboardName");
            ("cloudwatch:PutDashboard", format!("arn:aws:cloudwatch::123456789012:dashboard/{name}"))
        }
        "AWS::ApiGatewayV2::Api" => ("apigateway:POST", "arn:aws:apigateway:eu-central-1::/apis".to_owned()),
        "AWS::ApiGateway::RestApi" => ("apigateway:POST", "arn:aws:apigateway:eu-central-1::/restapis".to_owned()),
        "AWS::WAFv2::WebACL" => ("wafv2:CreateWebACL", arn("wafv2", &format!("regional/webacl/{}/1", given("Name")))),
        "AWS::WAFv2::IPSet" => ("wafv2:CreateIPSet", arn("wafv2", &format!("regional/ipset/{}/1", given("Name")))),
        // They belong to one of these.
        _ => return None,
    })
}

#[test]
fn cloudformation_can_make_every_resource_of_every_variant() {
    let mut made = 0;
    for (name, template) in variants() {
        for (id, resource) in template.resources() {
            let kind = resource["Type"].as_str().expect("a type");
            let Some((action, on)) = making(kind, &id, &resource) else { continue };
            let context: Context<'_> = if kind == "AWS::IAM::Role" { &[BOUNDED] } else { &[] };
            assert!(may("StackRole", action, &on, context), "{name}: {action} on {on}");
            made += 1;
        }
    }
    assert!(made > 100, "{made}");
    for (action, resource) in [
        ("iam:PutRolePolicy", role("ForwarderRole")),
        ("iam:DeleteRolePolicy", role("ForwarderRole")),
        ("iam:PutRolePermissionsBoundary", role("ForwarderRole")),
    ] {
        assert!(may("StackRole", action, &resource, &[BOUNDED]), "{action}");
    }
    assert!(may("StackRole", "iam:PassRole", &role("ForwarderRole"), &[TO_LAMBDA]));
    assert!(may("StackRole", "iam:DeleteRole", &role("ForwarderRole"), &[]));
    let mapping = arn("lambda", "event-source-mapping:1");
    let of = |function: &str| {
        may("StackRole", "lambda:CreateEventSourceMapping", &mapping, &[("lambda:functionarn", function)])
    };
    assert!(of(&arn("lambda", "function:webhook-ForwarderFunction-1")) && !of(&arn("lambda", "function:other")));
}

#[test]
fn only_github_s_environment_and_cloudformation_take_the_roles() {
    let template = deploy_role();
    let trust = |name: &str| template.resource(name)["Properties"]["AssumeRolePolicyDocument"]["Statement"].take();
    assert_eq!(trust("StackRole")[0]["Principal"], json!({ "Service": "cloudformation.amazonaws.com" }));
    let subject = &trust("DeployRole")[0]["Condition"]["StringEquals"];
    assert_eq!(subject["token.actions.githubusercontent.com:sub"], "repo:owner/name:environment:production");
    assert_eq!(subject["token.actions.githubusercontent.com:aud"], "sts.amazonaws.com");
    assert!(template.resource("DeployRole")["Properties"]["ManagedPolicyArns"].is_null());
    let own = template.resource("StackRole");
    assert_eq!(own["Properties"]["RoleName"], "webhook-cloudformation", "as the secrets' policies have it");
}
