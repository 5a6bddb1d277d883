//! Tests workload identity: the platform's token is exchanged for a key.
//!
//! No secret is stored anywhere.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use testbed::api::Api;
use testbed::aws::{self, AUDIENCE, Aws};
use testbed::daemon::Builder;
use testbed::netns;
use testbed::region::REGION;
use testbed::tailnet::Tailnet;
use testbed::tailscale_api::{FEDERATED_ID, ID_TOKEN, TailscaleApi};

use crate::scene::{READY, key, keyless, live, log_in_again, tailnet, with_api};

pub const WORKFLOW_TOKEN: &str = "workflow-token-0123456789";

/// A tailnet, and an API that makes that many keys for it.
fn scene(keys: usize) -> (Tailnet, TailscaleApi) {
    let tailnet = tailnet();
    let keys = (0..keys).map(|_| key(&tailnet)).collect();
    (tailnet, TailscaleApi::start(keys).expect("API"))
}

fn federated(tailnet: &Tailnet, api: &TailscaleApi, hostname: &str) -> Builder {
    with_api(keyless(tailnet, hostname), api).env("TETHERD_OAUTH_CLIENT_ID", FEDERATED_ID)
}

/// GitHub's token service.
pub fn github() -> Api {
    let answer = |request: &testbed::api::Request| match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/token?v=1&audience=api.tailscale.com%2FkFederated1CNTRL")
            if request.header("Authorization") == Some(&format!("Bearer {WORKFLOW_TOKEN}")) =>
        {
            (200, json!({ "count": 1, "value": ID_TOKEN }).to_string())
        }
        _ => (403, json!({ "message": "no permission" }).to_string()),
    };
    Api::start(answer).expect("GitHub")
}

/// The variables of a workflow.
pub fn in_a_workflow(builder: Builder, github: &Api) -> Builder {
    let builder = builder.env("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/token?v=1", github.url()));
    builder.env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", WORKFLOW_TOKEN).env("TS_AUDIENCE", AUDIENCE)
}

/// Google's metadata server.
pub fn google() -> Api {
    const PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/identity?\
                        audience=api.tailscale.com%2FkFederated1CNTRL&format=full";
    let answer = |request: &testbed::api::Request| match (request.method.as_str(), request.path.as_str()) {
        _ if request.header("Metadata-Flavor") != Some("Google") => (403, "Missing Metadata-Flavor:Google".into()),
        ("GET", PATH) => (200, format!("{ID_TOKEN}\n")),
        _ => (404, String::new()),
    };
    Api::start(answer).expect("Google")
}

/// The variable of Google's own libraries names the host.
pub fn at_google(builder: Builder, google: &Api) -> Builder {
    let host = google.url().replace("http://", "");
    builder.env("GCE_METADATA_HOST", &host).env("TS_AUDIENCE", AUDIENCE)
}

/// A task whose role may ask STS for an identity token.
pub fn in_a_task(builder: Builder, aws: &Aws) -> Builder {
    aws.vouch_with(ID_TOKEN);
    let builder = builder.env("AWS_ENDPOINT_URL", &aws.api.url()).env("AWS_REGION", REGION);
    let builder = builder.env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", aws::TASK_PATH);
    builder.env("TETHERD_ID_TOKEN_AUDIENCE", AUDIENCE)
}

/// What gives a task of ECS its credentials.
pub fn task_endpoint(aws: &Aws) -> Api {
    let address = Ipv4Addr::new(169, 254, 170, 2);
    netns::add_address(address).expect("an address");
    aws.also_at(SocketAddr::from((address, 80))).expect("an endpoint")
}

#[test]
fn a_workflow_of_github() {
    let (tailnet, api) = scene(1);
    live(&tailnet, in_a_workflow(federated(&tailnet, &api, "workflow"), &github()), "workflow");
}

#[test]
fn a_machine_of_google() {
    let (tailnet, api) = scene(1);
    live(&tailnet, at_google(federated(&tailnet, &api, "google"), &google()), "google");
}

#[test]
fn a_task_of_aws() {
    let (tailnet, api) = scene(1);
    let aws = Aws::start(Vec::new()).expect("AWS");
    let _endpoint = task_endpoint(&aws);
    live(&tailnet, in_a_task(federated(&tailnet, &api, "task"), &aws), "task");
}

/// As a kubelet does it: the file is a link by way of a link to a directory, and that one is replaced.
fn project(volume: &Path, version: &str, token: &str) {
    fs::create_dir(volume.join(version)).expect("made");
    fs::write(volume.join(version).join("token"), token).expect("written");
    symlink(version, volume.join("..data_tmp")).expect("linked");
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("replaced");
}

#[test]
fn a_pod_whose_projected_token_rotates() {
    let (tailnet, api) = scene(2);
    let volume = tempfile::tempdir().expect("directory");
    symlink("..data/token", volume.path().join("token")).expect("linked");
    project(volume.path(), "..v1", ID_TOKEN);
    let file = volume.path().join("token");
    let builder = federated(&tailnet, &api, "pod").env("TETHERD_ID_TOKEN_FILE", &file.to_string_lossy());
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
    let rotated = format!("{ID_TOKEN}2");
    api.accept(&rotated);
    project(volume.path(), "..v2", &rotated);
    log_in_again(&tailnet, &mut daemon, "pod");
    assert_eq!(api.created().len(), 2);
}
