//! Every failure: what the user reads, the exit code, the time it took, and that no secret is among it.

use std::time::{Duration, Instant};

use serde_json::json;
use testbed::api::{Api, Reply};
use testbed::tailscale_api::{ACCESS_TOKEN, CLIENT_SECRET, ID_TOKEN, TAG, TailscaleApi};

use crate::scene::{AWS_SECRET, END, bare, with_credentials};

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ts-AbCdEf";
const HIDDEN: &str = "hidden-value-0123456789";
/// Final failures end within this on a busy machine; alone they take 0.1 s.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What is wrong, and what must be read of it.
struct Case {
    name: &'static str,
    settings: Vec<(&'static str, String)>,
    code: i32,
    parts: &'static [&'static str],
}

fn run(case: &Case) {
    let settings = case.settings.iter();
    let builder = settings.fold(bare(), |builder, (name, value)| builder.env(name, value));
    let begun = Instant::now();
    let mut daemon = builder.start().expect("starts");
    let status = daemon.wait_exit(END).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let took = begun.elapsed();
    let line = daemon.stderr().lines().last().unwrap_or_default().to_owned();
    println!("{}: {:?} after {took:?}: {line}", case.name, status.code());
    assert_eq!(status.code(), Some(case.code), "{}: {line}", case.name);
    for part in case.parts {
        assert!(line.contains(part), "{}: {part:?} is missing in {line:?}", case.name);
    }
    for secret in [HIDDEN, AWS_SECRET, CLIENT_SECRET, ID_TOKEN, ACCESS_TOKEN] {
        assert!(!daemon.output().contains(secret), "{}: {}", case.name, daemon.output());
    }
    assert!(took < AT_ONCE, "{}: {took:?}", case.name);
}

/// An API that answers everything alike.
fn always(reply: Reply) -> String {
    Api::start(move |_| reply.clone()).expect("API").url()
}

fn aws(name: &'static str, reply: Reply, code: i32, parts: &'static [&'static str]) -> Case {
    let mut settings = vec![
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", always(reply)),
        ("TETHERD_AUTH_SECRET", ARN.to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned()),
    ];
    settings.push(("TETHERD_START_TIMEOUT", "2s".to_owned()));
    Case { name, settings, code, parts }
}

fn fault(status: u16, code: &str, message: &str) -> Reply {
    (status, json!({ "__type": code, "Message": message }).to_string())
}

fn value(text: &str) -> Reply {
    (200, json!({ "ARN": ARN, "Name": "ts", "VersionId": "v1", "SecretString": text }).to_string())
}

#[test]
fn secrets_manager() {
    testbed::netns::enter_new().expect("a network namespace");
    let not_allowed = "User: arn:aws:sts::123456789012:assumed-role/app is not authorized";
    for case in [
        aws("denied", fault(400, "AccessDeniedException", not_allowed), 77, &[ARN, "secretsmanager:GetSecretValue"]),
        aws(
            "KMS denied",
            fault(400, "AccessDeniedException", "Access to KMS is not allowed"),
            77,
            &[ARN, "kms:Decrypt"],
        ),
        aws("KMS failure", fault(400, "DecryptionFailure", ""), 77, &[ARN, "kms:Decrypt"]),
        aws(
            "not found",
            fault(400, "ResourceNotFoundException", "can't find it"),
            78,
            &[ARN, "there is no such secret"],
        ),
        aws(
            "no such version",
            fault(
                400,
                "ResourceNotFoundException",
                "can't find the specified secret value for staging label: AWSCURRENT",
            ),
            78,
            &[ARN, "auth_secret_stage"],
        ),
        aws("deleted", fault(400, "InvalidRequestException", "marked for deletion"), 78, &[ARN, "marked for deletion"]),
        aws(
            "expired token",
            fault(400, "ExpiredTokenException", "token expired"),
            77,
            &["does not accept the credentials"],
        ),
        aws(
            "throttled",
            fault(400, "ThrottlingException", "Rate exceeded"),
            69,
            &["start_timeout", "ThrottlingException"],
        ),
        aws("in trouble", fault(503, "ServiceUnavailable", ""), 69, &["start_timeout", "503"]),
        aws("no field", value(&json!({ "other": HIDDEN }).to_string()), 78, &[ARN, "\"other\"", "auth_secret_field"]),
        aws("bad JSON", value(&format!("{{\"key\": \"{HIDDEN}")), 78, &[ARN, "no valid JSON"]),
        aws("empty", value(" "), 78, &[ARN, "is empty"]),
        aws("an API key", value(&format!("tskey-api-{HIDDEN}")), 78, &["API key", "create an auth key"]),
        aws("Headscale's", value(&format!("hskey-api-{HIDDEN}")), 78, &["control_url"]),
        aws("a client", value(CLIENT_SECRET), 78, &["tags"]),
        aws("binary", (200, json!({ "ARN": ARN, "SecretBinary": "AAEC" }).to_string()), 78, &[ARN, "is binary"]),
    ] {
        run(&case);
    }
}

#[test]
fn credentials_and_region() {
    testbed::netns::enter_new().expect("a network namespace");
    // Where no instance metadata is asked.
    let task = ("TETHERD_RUNTIME", "ecs".to_owned());
    let limit = ("TETHERD_START_TIMEOUT", "4s".to_owned());
    let named = ("TETHERD_AUTH_SECRET", "ts".to_owned());
    let keys = [("AWS_ACCESS_KEY_ID", "AKIA".to_owned()), ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned())];
    let [id, secret] = keys;
    let cases: [(_, _, &'static [&'static str]); 3] = [
        ("no credentials", vec![task.clone(), ("TETHERD_AUTH_SECRET", ARN.to_owned())], &["no AWS credentials", ARN]),
        ("none on a plain host", vec![("TETHERD_AUTH_SECRET", ARN.to_owned())], &["no AWS credentials", ARN]),
        ("no region", vec![task, named, id, secret], &["AWS_REGION", "auth_secret ts"]),
    ];
    for (name, settings, parts) in cases {
        let settings = settings.into_iter().chain([limit.clone(), ("HOME", "/nowhere".to_owned())]).collect();
        run(&Case { name, settings, code: 78, parts });
    }
}

fn api(name: &'static str, url: String, code: i32, parts: &'static [&'static str]) -> Case {
    let settings = [
        ("TETHERD_API_URL", url),
        ("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
        ("TETHERD_TAGS", TAG.to_owned()),
        ("TETHERD_START_TIMEOUT", "2s".to_owned()),
    ];
    Case { name, settings: settings.to_vec(), code, parts }
}

/// A good token, and then this.
fn keys_answer(reply: Reply) -> String {
    let api = Api::start(move |request| match request.path.as_str() {
        "/api/v2/oauth/token" => (200, json!({ "access_token": ACCESS_TOKEN }).to_string()),
        _ => reply.clone(),
    });
    api.expect("API").url()
}

#[test]
fn tailscales_api() {
    testbed::netns::enter_new().expect("a network namespace");
    let message = |text: &str| json!({ "message": text }).to_string();
    for case in [
        api("revoked", always((401, message("API token invalid"))), 77, &["401", "API token invalid", "revoked"]),
        api("no scope", keys_answer((403, message("actor lacks permissions"))), 77, &["403", "auth_keys", TAG]),
        api(
            "not its tag",
            keys_answer((400, message("tags are invalid"))),
            78,
            &["400", "tags are invalid", "tagOwners"],
        ),
        api("no tailnet", keys_answer((404, message("not found"))), 78, &["404", "tailnet"]),
        api("throttled", always((429, message("slow down"))), 69, &["start_timeout", "429", "slow down"]),
        api("in trouble", keys_answer((500, message(ACCESS_TOKEN))), 69, &["start_timeout", "500"]),
        api("no API there", always((200, "<html>".to_owned())), 69, &["not understood"]),
        api("nobody there", "http://127.0.0.1:9".to_owned(), 69, &["127.0.0.1:9", "cannot be asked"]),
    ] {
        run(&case);
    }
}

#[test]
fn identities_and_settings_that_do_not_fit() {
    testbed::netns::enter_new().expect("a network namespace");
    let url = TailscaleApi::start(Vec::new()).expect("API").api.url();
    let tags = ("TETHERD_TAGS", TAG.to_owned());
    let id = ("TETHERD_OAUTH_CLIENT_ID", "another".to_owned());
    let token = ("TETHERD_ID_TOKEN", ID_TOKEN.to_owned());
    let secret = ("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET.to_owned());
    let both: Vec<_> = vec![("TETHERD_AUTH_KEY", HIDDEN.to_owned()), ("SECRET_NAME", "ts".to_owned())];
    let api_url = ("TETHERD_API_URL", url);
    let cases: [(_, _, _, &'static [&'static str]); 7] = [
        (
            "unknown",
            vec![api_url, tags.clone(), id.clone(), token.clone()],
            77,
            &["401", "issuer, subject and audience"],
        ),
        ("two sources", both, 78, &["auth_key (from TETHERD_AUTH_KEY)", "auth_secret (from SECRET_NAME)"]),
        (
            "two proofs",
            vec![tags.clone(), id.clone(), token.clone(), secret.clone()],
            78,
            &["oauth_client_secret", "id_token"],
        ),
        ("no proof", vec![tags.clone(), id.clone()], 78, &["oauth_client_id", "id_token_file"]),
        ("no id", vec![tags.clone(), token], 78, &["id_token", "needs oauth_client_id"]),
        ("no tags", vec![secret], 78, &["oauth_client_secret", "needs tags"]),
        (
            "a key as a name",
            vec![("TETHERD_AUTH_SECRET", format!("tskey-auth-{HIDDEN}"))],
            78,
            &["auth_secret", "auth_key"],
        ),
    ];
    for (name, settings, code, parts) in cases {
        run(&Case { name, settings, code, parts });
    }
}

/// Throttling passes: the daemon goes on asking, and says why it waits meanwhile.
#[test]
fn throttling_is_waited_out() {
    testbed::netns::enter_new().expect("a network namespace");
    let throttling = Api::start(|_| fault(400, "ThrottlingException", "Rate exceeded")).expect("AWS");
    let builder = with_credentials(bare().env("TETHERD_AUTH_SECRET", ARN));
    let daemon = builder.env("AWS_ENDPOINT_URL_SECRETS_MANAGER", &throttling.url()).start().expect("starts");
    testbed::wait_until("three attempts", END, || (throttling.seen().len() >= 3).then_some(())).expect("goes on");
    let (status, body) = daemon.readyz().expect("answers");
    assert_eq!((status, body["state"].as_str()), (503, Some("NeedsLogin")), "{body}");
    assert!(body["reason"].as_str().is_some_and(|reason| reason.contains("ThrottlingException")), "{body}");
}
