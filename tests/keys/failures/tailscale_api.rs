//! Tests failures of Tailscale's API: an endpoint refuses, breaks or is silent.
//!
//! Each of its endpoints is tried.

use serde_json::json;
use testbed::Server;
use testbed::api::{Api, Reply};
use testbed::tailscale_api::{ACCESS_TOKEN, CLIENT_SECRET, FEDERATED_ID, ID_TOKEN, TAG};
use testbed::wait::wait_until;

use super::{Case, Ends, MISCONFIGURED, REFUSED, always, fault};
use crate::scene::{END, bare};

const KEYS: &str = "/api/v2/tailnet/-/keys";
const OTHERS_KEYS: &str = "/api/v2/tailnet/other.example/keys";
const TOKEN: &str = "/api/v2/oauth/token";
const EXCHANGE: &str = "/api/v2/oauth/token-exchange";

/// Answers at this endpoint so, or never; the ones before it are as they should be.
fn failing(endpoint: &'static str, reply: Option<Reply>) -> String {
    let api = Api::start(move |request| match (&reply, request.path == endpoint) {
        (_, false) => (200, json!({ "access_token": ACCESS_TOKEN }).to_string()),
        (Some(reply), true) => reply.clone(),
        (None, true) => loop {
            std::thread::park();
        },
    });
    api.expect("API").url()
}

fn client() -> Vec<(&'static str, String)> {
    vec![("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET.to_owned())]
}

fn of_another_tailnet() -> Vec<(&'static str, String)> {
    [client(), vec![("TETHERD_TAILNET", "other.example".to_owned())]].concat()
}

fn identity() -> Vec<(&'static str, String)> {
    vec![("TETHERD_OAUTH_CLIENT_ID", FEDERATED_ID.to_owned()), ("TETHERD_ID_TOKEN", ID_TOKEN.to_owned())]
}

/// Who asks, which endpoint says what, and how that ends.
type Line = (Vec<(&'static str, String)>, &'static str, Option<Reply>, Ends, Vec<&'static str>);

fn run(lines: Vec<Line>) {
    testbed::netns::enter_new().expect("a network namespace");
    for (mut settings, endpoint, reply, ends, parts) in lines {
        let name = endpoint;
        settings.extend([("TETHERD_API_URL", failing(endpoint, reply)), ("TETHERD_TAGS", TAG.to_owned())]);
        Case { name, settings, ends, parts }.run();
    }
}

/// What every endpoint has in common: trouble that passes.
fn trouble(who: fn() -> Vec<(&'static str, String)>, endpoint: &'static str, origin: &'static str) -> Vec<Line> {
    vec![
        (who(), endpoint, Some(fault(429, "slow down")), Ends::Late, vec!["429", "slow down", "trying again"]),
        (who(), endpoint, Some(fault(500, ACCESS_TOKEN)), Ends::Late, vec!["500", "trying again"]),
        (who(), endpoint, Some((200, "<html>".into())), Ends::Late, vec!["not understood"]),
        (who(), endpoint, None, Ends::Late, vec!["waiting for the auth key", origin]),
    ]
}

#[test]
fn the_token_is_refused() {
    let mut lines: Vec<Line> = vec![
        (client(), TOKEN, Some(fault(401, "API token invalid")), REFUSED, vec!["401", "API token invalid", "revoked"]),
        (client(), TOKEN, Some(fault(403, CLIENT_SECRET)), REFUSED, vec!["403", "***", "revoked"]),
        (client(), TOKEN, Some(fault(404, "not found")), MISCONFIGURED, vec!["404", "api_url"]),
    ];
    lines.extend(trouble(client, TOKEN, "oauth_client_secret"));
    run(lines);
}

#[test]
fn the_exchange_of_an_identity_token_is_refused() {
    let said = vec!["issuer, subject and audience", "oauth_client_id"];
    let mut lines: Vec<Line> = vec![
        (identity(), EXCHANGE, Some(fault(401, ID_TOKEN)), REFUSED, [vec!["401", "***"], said.clone()].concat()),
        (identity(), EXCHANGE, Some(fault(403, "no")), REFUSED, [vec!["403"], said].concat()),
        (identity(), EXCHANGE, Some(fault(404, "not found")), MISCONFIGURED, vec!["404", "api_url"]),
    ];
    lines.extend(trouble(identity, EXCHANGE, "oauth_client_id"));
    run(lines);
}

#[test]
fn the_key_is_refused() {
    let mut lines: Vec<Line> = vec![
        (client(), KEYS, Some(fault(400, "tags are invalid")), MISCONFIGURED, vec!["400", "are invalid", "tagOwners"]),
        (client(), KEYS, Some(fault(401, "no")), REFUSED, vec!["401", "auth_keys", TAG]),
        (identity(), KEYS, Some(fault(403, ACCESS_TOKEN)), REFUSED, vec!["403", "***", "auth_keys", TAG]),
        (client(), KEYS, Some(fault(404, "not found")), MISCONFIGURED, vec!["404", "api_url"]),
        (
            of_another_tailnet(),
            OTHERS_KEYS,
            Some(fault(404, "no")),
            MISCONFIGURED,
            vec!["404", "no tailnet other.example"],
        ),
    ];
    lines.extend(trouble(client, KEYS, "oauth_client_secret"));
    run(lines);
}

#[test]
fn nobody_is_there() {
    testbed::netns::enter_new().expect("a network namespace");
    let settings = [client(), vec![("TETHERD_API_URL", "http://127.0.0.1:9".into()), ("TETHERD_TAGS", TAG.into())]];
    let parts = vec!["127.0.0.1:9", "cannot be asked", "refused"];
    Case { name: "nobody there", settings: settings.concat(), ends: Ends::Late, parts }.run();
    // A good answer of another program altogether.
    let settings = [client(), vec![("TETHERD_API_URL", always((200, "{}".into()))), ("TETHERD_TAGS", TAG.into())]];
    let parts = vec!["not understood", "is that its address?"];
    Case { name: "another program", settings: settings.concat(), ends: Ends::Late, parts }.run();
}

/// Without `start_timeout` a question that is not answered ends all the same, is asked again, and says so.
#[test]
fn silence_has_an_end() {
    testbed::netns::enter_new().expect("a network namespace");
    let silent = Server::silent(0).expect("a port");
    let builder = bare().env("TETHERD_API_URL", &format!("http://{}", silent.address())).env("TETHERD_TAGS", TAG);
    let daemon = builder.env("TETHERD_OAUTH_CLIENT_SECRET", CLIENT_SECRET).start().expect("starts");
    let reason = || {
        let (_, body) = daemon.readyz().ok()?;
        body["reason"].as_str().filter(|reason| reason.contains("no answer within 10 s")).map(str::to_owned)
    };
    let reason = wait_until("it says why", END, reason).expect("a reason");
    assert!(reason.contains("Tailscale's API"), "{reason}");
}
