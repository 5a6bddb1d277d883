//! Tests failures of AWS Secrets Manager, and of the credentials and region for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use testbed::api::{Api, Reply};
use testbed::moto::Moto;
use testbed::tailscale_api::CLIENT_SECRET;
use testbed::wait::wait_until;

use super::{Case, Ends, HIDDEN, MISCONFIGURED, REFUSED, always};
use crate::scene::{AWS_SECRET, AWS_SESSION, END, READY, key, keyless, tailnet, with_credentials};

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ts-AbCdEf";
/// What AWS says where a secret has no such version.
const NO_VERSION: &str = "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT";
/// What AWS says where a signature is wrong: all that was signed.
const SIGNED: &str = "The Canonical String for this request should have been 'POST\nx-amz-security-token:";

fn case(name: &'static str, reply: Reply, ends: Ends, parts: &[&'static str]) -> Case {
    let settings = vec![
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", always(reply)),
        ("TETHERD_AUTH_SECRET", ARN.to_owned()),
        ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned()),
        ("AWS_SESSION_TOKEN", AWS_SESSION.to_owned()),
    ];
    Case { name, settings, ends, parts: [parts, &[ARN]].concat() }
}

fn fault(status: u16, code: &str, message: &str) -> Reply {
    (status, json!({ "__type": code, "Message": message }).to_string())
}

fn value(text: &str) -> Reply {
    (200, json!({ "ARN": ARN, "Name": "ts", "VersionId": "v1", "SecretString": text }).to_string())
}

#[test]
fn secrets_manager_says_no() {
    testbed::netns::enter_new().expect("a network namespace");
    let not_allowed = "User: arn:aws:sts::123456789012:assumed-role/app is not authorized";
    let signed = format!("{SIGNED}{AWS_SESSION}\n'");
    let denied = "AccessDeniedException";
    for case in [
        case("denied", fault(400, denied, not_allowed), REFUSED, &["secretsmanager:GetSecretValue"]),
        case("KMS denied", fault(400, denied, "Access to KMS is not allowed"), REFUSED, &["kms:Decrypt"]),
        case("KMS failure", fault(400, "DecryptionFailure", ""), REFUSED, &["kms:Decrypt"]),
        case("not found", fault(400, "ResourceNotFoundException", "can't find"), MISCONFIGURED, &["no such secret"]),
        case("no version", fault(400, "ResourceNotFoundException", NO_VERSION), MISCONFIGURED, &["auth_secret_stage"]),
        case("deleted", fault(400, "InvalidRequestException", "marked for deletion"), MISCONFIGURED, &["for deletion"]),
        case("expired", fault(400, "ExpiredTokenException", "expired"), REFUSED, &["does not accept the credentials"]),
        case("unsigned", fault(400, "InvalidSignatureException", &signed), REFUSED, &["x-amz-security-token:***"]),
        case("throttled", fault(400, "ThrottlingException", "Rate exceeded"), Ends::Late, &["ThrottlingException"]),
        case("in trouble", fault(503, "ServiceUnavailable", ""), Ends::Late, &["503"]),
    ] {
        case.run();
    }
}

#[test]
fn the_secret_is_of_no_use() {
    testbed::netns::enter_new().expect("a network namespace");
    let other = json!({ "other": HIDDEN }).to_string();
    let binary = (200, json!({ "ARN": ARN, "SecretBinary": "AAEC" }).to_string());
    for case in [
        case("no field", value(&other), MISCONFIGURED, &["\"other\"", "auth_secret_field"]),
        case("bad JSON", value(&format!("{{\"key\": \"{HIDDEN}")), MISCONFIGURED, &["no valid JSON"]),
        case("empty", value(" "), MISCONFIGURED, &["is empty"]),
        case("binary", binary, MISCONFIGURED, &["is binary"]),
    ] {
        case.run();
    }
    for (name, text, part) in [
        ("a person's API key", format!("tskey-api-{HIDDEN}"), "create an auth key"),
        ("Headscale's without its address", format!("hskey-api-{HIDDEN}"), "control_url"),
        ("a client without tags", CLIENT_SECRET.to_owned(), "tags"),
    ] {
        // These are not about the secret's ARN any more.
        Case { parts: vec![part], ..case(name, value(&text), MISCONFIGURED, &[]) }.run();
    }
}

/// The real answers of moto, which are those of AWS where they are about a secret.
#[test]
fn moto_says_no() {
    let tailnet = tailnet();
    let moto = Moto::start(&tailnet).expect("moto");
    moto.store_binary("binary").expect("stored");
    moto.store("json", &json!({ "other": HIDDEN }).to_string()).expect("stored");
    let ca_file = tailnet.ca_file().to_string_lossy().into_owned();
    for (name, settings, parts) in [
        ("missing", vec![("TETHERD_AUTH_SECRET", "missing")], vec!["auth_secret missing", "no such secret"]),
        ("binary", vec![("TETHERD_AUTH_SECRET", "binary")], vec!["secret:binary-", "is binary"]),
        ("no field", vec![("TETHERD_AUTH_SECRET", "json")], vec!["secret:json-", "\"other\""]),
        (
            "nothing pending",
            vec![("TETHERD_AUTH_SECRET", "json"), ("TETHERD_AUTH_SECRET_STAGE", "AWSPENDING")],
            vec!["auth_secret json", "AWSPENDING", "auth_secret_stage"],
        ),
    ] {
        let place = [("AWS_ENDPOINT_URL", moto.url()), ("AWS_REGION", "eu-west-1".into())];
        let who = [("AWS_ACCESS_KEY_ID", "AKIA".into()), ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.into())];
        let own = settings.into_iter().map(|(name, value)| (name, value.to_owned()));
        let settings = own.chain(place).chain(who).chain([("TETHERD_CA_FILE", ca_file.clone())]).collect();
        Case { name, settings, ends: MISCONFIGURED, parts }.run();
    }
}

#[test]
fn no_credentials_and_no_region() {
    testbed::netns::enter_new().expect("a network namespace");
    // Where no instance metadata is asked.
    let task = ("TETHERD_RUNTIME", "ecs".to_owned());
    let arn = ("TETHERD_AUTH_SECRET", ARN.to_owned());
    let named = ("TETHERD_AUTH_SECRET", "ts".to_owned());
    let token = tempfile::NamedTempFile::new().expect("file");
    std::fs::write(token.path(), HIDDEN).expect("written");
    let role = |answer: Reply| {
        let file = token.path().to_string_lossy().into_owned();
        let role = testbed::aws::ROLE.to_owned();
        let proof = [("AWS_WEB_IDENTITY_TOKEN_FILE", file), ("AWS_ROLE_ARN", role)];
        [arn.clone(), ("AWS_ENDPOINT_URL_STS", always(answer))].into_iter().chain(proof).collect()
    };
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
    let busy = "<ErrorResponse><Error><Code>ServiceUnavailable</Code><Message>later</Message></Error></ErrorResponse>";
    let keys = [("AWS_ACCESS_KEY_ID", "AKIA".to_owned()), ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned())];
    let own = [("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_USE_FIPS_ENDPOINT", "true")];
    let own = own.map(|(name, value)| (name, value.to_owned()));
    let fips = [arn.clone()].into_iter().chain(keys.clone()).chain(own).collect();
    let no_region = [task.clone(), named].into_iter().chain(keys).collect();
    for (name, settings, ends, parts) in [
        ("no credentials", vec![task, arn.clone()], MISCONFIGURED, vec!["no AWS credentials", ARN]),
        ("none on a plain host", vec![arn.clone()], MISCONFIGURED, vec!["no AWS credentials", ARN]),
        ("no region", no_region, MISCONFIGURED, vec!["AWS_REGION", "auth_secret ts"]),
        ("no trust", role((403, denied.into())), REFUSED, vec!["AccessDenied", "trust policy", ARN]),
        // The SDK tries again itself meanwhile.
        ("STS in trouble", role((503, busy.into())), Ends::Late, vec![ARN]),
        ("FIPS at an own endpoint", fips, MISCONFIGURED, vec!["FIPS", ARN]),
    ] {
        Case { name, settings, ends, parts }.run();
    }
}

/// Throttling passes: the daemon goes on asking, says why it waits meanwhile, and joins in the end.
#[test]
fn throttling_is_waited_out() {
    let tailnet = tailnet();
    let (key, over) = (key(&tailnet), Arc::new(AtomicBool::new(false)));
    let is_over = Arc::clone(&over);
    let throttling = Api::start(move |_| match is_over.load(Ordering::Relaxed) {
        true => value(&key),
        false => fault(400, "ThrottlingException", "Rate exceeded"),
    });
    let throttling = throttling.expect("AWS");
    let builder = with_credentials(keyless(&tailnet, "patient").env("TETHERD_AUTH_SECRET", ARN));
    let mut daemon = builder.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &throttling.url()).start().expect("starts");
    wait_until("three attempts", END, || (throttling.seen().len() >= 3).then_some(())).expect("goes on");
    let (status, body) = daemon.readyz().expect("answers");
    assert_eq!((status, body["state"].as_str()), (503, Some("NeedsLogin")), "{body}");
    assert!(body["reason"].as_str().is_some_and(|reason| reason.contains("ThrottlingException")), "{body}");
    over.store(true, Ordering::Relaxed);
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
}
