//! Which key encrypts what, who may use it for what, and how long things are kept.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webhook_stack::policy::{Request, permits};
use webhook_stack::template::{Template, role, secret};

use crate::expanded::{BY_CLIENT, BY_IDENTITY, KEY, template, variants};
use crate::policies::identity;

const DECRYPT: &str = "kms:Decrypt";
const MAKE: &str = "kms:GenerateDataKey";
const SECRETS: &str = "secretsmanager.eu-central-1.amazonaws.com";
const QUEUES: &str = "sqs.eu-central-1.amazonaws.com";
const VIA: &str = "kms:viaservice";
const ABOUT: &str = "kms:encryptioncontext:secretarn";

fn may(template: &Template, who: &str, action: &str, context: &[(&'static str, &str)]) -> bool {
    let context = context.iter().map(|(key, value)| (*key, vec![*value])).collect::<BTreeMap<_, _>>();
    permits(&identity(template, who), &[], &Request { principal: &role(who), action, resource: KEY, context })
}

fn roles(template: &Template) -> Vec<String> {
    let resources = template.resources();
    let roles = resources.iter().filter(|(_, resource)| resource["Type"] == "AWS::IAM::Role");
    roles.map(|(name, _)| name.clone()).collect()
}

#[test]
fn a_role_uses_the_key_only_by_the_service_and_for_the_secrets_that_it_reads() {
    for mode in ["sync", "async"] {
        let template = template(&[("Mode", mode), ("SignatureScheme", "github"), ("KmsKeyArn", KEY)]);
        let secrets = |who: &str| match (who, mode) {
            ("ForwarderRole", "sync") => vec!["AuthKey", "SignatureSecret"],
            ("ForwarderRole", _) => vec!["AuthKey"],
            ("ReceiverRole", _) => vec!["SignatureSecret"],
            ("RotationRole", _) => vec!["AuthKey", "OAuthClient"],
            _ => vec![],
        };
        for who in roles(&template) {
            for name in ["AuthKey", "OAuthClient", "SignatureSecret"] {
                let arn = secret(name);
                let expected = secrets(&who).contains(&name);
                assert_eq!(
                    may(&template, &who, DECRYPT, &[(VIA, SECRETS), (ABOUT, &arn)]),
                    expected,
                    "{mode}: {who}: {name}"
                );
                let writes = expected && who == "RotationRole";
                assert_eq!(
                    may(&template, &who, MAKE, &[(VIA, SECRETS), (ABOUT, &arn)]),
                    writes,
                    "{mode}: {who}: {name}"
                );
                for elsewhere in ["secretsmanager.us-east-1.amazonaws.com", "ec2.eu-central-1.amazonaws.com"] {
                    assert!(!may(&template, &who, DECRYPT, &[(VIA, elsewhere), (ABOUT, &arn)]), "{who}: {elsewhere}");
                }
                assert!(!may(&template, &who, DECRYPT, &[(ABOUT, &arn)]), "{mode}: {who} by itself");
            }
            let another = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:another-AbCdEf";
            for action in [DECRYPT, MAKE] {
                assert!(!may(&template, &who, action, &[]), "{mode}: {who}: {action} by itself");
                assert!(!may(&template, &who, action, &[(VIA, SECRETS), (ABOUT, another)]), "{mode}: {who}: {action}");
                assert!(!may(&template, &who, action, &[(VIA, SECRETS)]), "{mode}: {who}: {action} without a context");
            }
        }
    }
}

#[test]
fn a_forwarder_that_makes_its_keys_uses_the_key_for_the_secrets_that_it_reads() {
    for (source, signed, read) in [
        (&[BY_CLIENT][..], "github", &["OAuthClient", "SignatureSecret"][..]),
        (&[BY_CLIENT], "none", &["OAuthClient"]),
        (&BY_IDENTITY, "github", &["SignatureSecret"]),
        (&BY_IDENTITY, "none", &[]),
    ] {
        let template = template(&[source, &[("SignatureScheme", signed), ("KmsKeyArn", KEY)]].concat());
        for name in ["AuthKey", "OAuthClient", "SignatureSecret"] {
            let arn = secret(name);
            let found = may(&template, "ForwarderRole", DECRYPT, &[(VIA, SECRETS), (ABOUT, &arn)]);
            assert_eq!(found, read.contains(&name), "{source:?} {signed}: {name}");
        }
    }
}

#[test]
fn queues_are_encrypted_with_the_key_that_their_two_functions_may_use() {
    let queues = |given: &[(&str, &str)]| {
        let template = template(&[given, &[("Mode", "async")]].concat());
        ["Queue", "DeadLetterQueue"].map(|name| template.resource(name)["Properties"].take())
    };
    for queue in queues(&[]) {
        assert_eq!((&queue["SqsManagedSseEnabled"], &queue["KmsMasterKeyId"]), (&json!(true), &Value::Null));
    }
    for queue in queues(&[("KmsKeyArn", KEY)]) {
        assert_eq!((&queue["SqsManagedSseEnabled"], &queue["KmsMasterKeyId"]), (&Value::Null, &json!(KEY)));
    }
    let template = template(&[("Mode", "async"), ("KmsKeyArn", KEY)]);
    let may = |who: &str, action: &str| may(&template, who, action, &[(VIA, QUEUES)]);
    let both = |who: &str| (may(who, DECRYPT), may(who, MAKE));
    assert_eq!((both("ReceiverRole"), both("ForwarderRole")), ((true, true), (true, false)));
    assert_eq!((both("RotationRole"), both("AuthorizerRole")), ((false, false), (false, false)));
}

#[test]
fn requests_wait_for_two_weeks_and_what_could_not_be_delivered_is_kept_for_a_long_weekend() {
    let template = template(&[("Mode", "async")]);
    let kept = |name: &str| template.resource(name)["Properties"]["MessageRetentionPeriod"].as_u64().expect("seconds");
    assert_eq!(kept("Queue"), 14 * 86_400);
    assert!((3 * 86_400..=5 * 86_400).contains(&kept("DeadLetterQueue")), "{}", kept("DeadLetterQueue"));
}

#[test]
fn every_function_has_a_log_group_that_is_encrypted_and_forgets() {
    for (name, template) in variants() {
        let resources = template.resources();
        let key = template.parameters().into_iter().find(|(known, value)| *known == "KmsKeyArn" && !value.is_empty());
        let key = key.map_or(Value::Null, |(_, arn)| json!(arn));
        for (group, resource) in resources.iter().filter(|(_, it)| it["Type"] == "AWS::Logs::LogGroup") {
            assert_eq!(resource["Properties"]["RetentionInDays"], 30, "{name}: {group}");
            assert_eq!(resource["Properties"]["KmsKeyId"], key, "{name}: {group}");
        }
        for (function, resource) in resources.iter().filter(|(_, it)| it["Type"] == "AWS::Lambda::Function") {
            let own = function.replace("Function", "Log");
            assert_eq!(resource["Properties"]["LoggingConfig"]["LogGroup"], own.as_str(), "{name}: {function}");
            let role = function.replace("Function", "Role");
            let logs = identity(&template, &role).into_iter().filter(|it| it["Action"].to_string().contains("logs:"));
            let groups: Vec<Value> = logs.map(|mut statement| statement["Resource"].take()).collect();
            let [group] = groups.as_slice() else { panic!("{name}: {role}: {groups:?}") };
            assert!(group.as_str().is_some_and(|arn| arn.contains(&format!("-{own}-"))), "{name}: {role}: {group}");
        }
    }
}
