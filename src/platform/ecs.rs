//! Amazon ECS: the task gives the node's name and the labels of its metrics.
//!
//! Each task is told what it is by a metadata endpoint of its own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::config::types::implied::Defaults;
use crate::config::types::node_label::NodeLabel;
use crate::environment::Environment;
use crate::net::http_request;
use crate::platform::interface::{Identity, Platform};
use crate::platform::lifecycle::LocalBoxFuture;

/// Variable with the address of the metadata endpoint.
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html>
const METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// Longest wait for a response. The endpoint is on the same host. It limits the rate of requests, so a second attempt
/// is worth while.
const ANSWER: Duration = Duration::from_millis(800);
const ATTEMPTS: u32 = 2;
const PAUSE: Duration = Duration::from_millis(200);

/// Number of a task's 32 hexadecimal digits that tell the tasks of a service apart.
const ID_DIGITS: usize = 8;

/// Default of `drain_timeout`. SIGKILL follows SIGTERM after 30 s unless the task definition says otherwise
/// (`stopTimeout`): draining ends before, and logging out has what is left.
const DRAIN_TIMEOUT: &str = "20s";

/// Default of `stopTimeout`.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// The platform of a container in an ECS task.
pub struct Ecs;

impl Platform for Ecs {
    fn name(&self) -> &'static str {
        "ecs"
    }

    fn detect(&self, environment: &Environment) -> bool {
        environment.contains_key(METADATA)
    }

    fn defaults(&self, _environment: &Environment) -> Defaults {
        vec![("log_format", "json".to_owned()), ("drain_timeout", DRAIN_TIMEOUT.to_owned())]
    }

    fn identity<'a>(&'a self, environment: &'a Environment) -> LocalBoxFuture<'a, Identity> {
        Box::pin(identity(environment))
    }

    fn stop_grace(&self) -> Duration {
        STOP_GRACE
    }

    /// Returns `false`: credentials of the task's role come from an endpoint of their own.
    fn has_instance_metadata(&self) -> bool {
        false
    }
}

/// The fields of the metadata that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Task {
    cluster: String,
    #[serde(rename = "TaskARN")]
    arn: String,
    family: String,
    revision: String,
    service_name: String,
    availability_zone: String,
    launch_type: String,
}

/// Asks the metadata endpoint what this task is. Without a response the identity is empty, and a warning is logged.
async fn identity(environment: &Environment) -> Identity {
    let endpoint = environment.get(METADATA).map_or("", String::as_str);
    for attempt in 1..=ATTEMPTS {
        let asked = timeout(ANSWER, ask(endpoint)).await;
        match asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} ms", ANSWER.as_millis()))) {
            Ok(task) => return task.into(),
            Err(error) if attempt == ATTEMPTS => {
                tracing::warn!(
                    endpoint,
                    "the task's metadata cannot be had; the node is named after the container: {error:#}"
                );
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
    Identity::default()
}

async fn ask(endpoint: &str) -> Result<Task> {
    let uri: Uri = format!("{endpoint}/task").parse().with_context(|| format!("{METADATA} is no address"))?;
    let host = uri.host().with_context(|| format!("{METADATA} names no host"))?.to_owned();
    let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(80))).await.context("connecting")?;
    let authority = uri.authority().map_or(host.as_str(), |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority).body(Full::<Bytes>::default())?;
    let (status, body) = http_request::read_answer(http_request::send(stream, request).await?).await?;
    ensure!(status == StatusCode::OK, "it answered {status}");
    serde_json::from_slice(&body).context("its answer is not that of a task")
}

impl From<Task> for Identity {
    fn from(task: Task) -> Self {
        let hostname = host_name(&task);
        let labels = [
            ("cluster", short(&task.cluster)),
            ("service", &task.service_name),
            ("task", short(&task.arn)),
            ("family", &task.family),
            ("revision", &task.revision),
            ("availability_zone", &task.availability_zone),
            ("launch_type", &task.launch_type),
        ];
        let known = labels.into_iter().filter(|(_, value)| !value.is_empty());
        Self { hostname, labels: known.map(|(name, value)| (name, value.to_owned())).collect() }
    }
}

/// Returns the part of an ARN behind its last slash.
fn short(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Joins the family and the beginning of the task's id. A family has up to 255 letters, digits, dashes and underscores.
fn host_name(task: &Task) -> Option<String> {
    let id: String = short(&task.arn).chars().take(ID_DIGITS).collect();
    NodeLabel::near_with(&task.family, &id).map(|name| name.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    /// AWS's own example of a response: the fields that matter and one that does not.
    const TASK: &str = r#"{
        "Cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
        "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/e9028f8d5d8e4f258373e7b93ce9a3c3",
        "Family": "curltest", "ServiceName": "MyService", "Revision": "3", "DesiredStatus": "RUNNING",
        "AvailabilityZone": "us-west-2d", "LaunchType": "FARGATE", "Limits": {"CPU": 0.25, "Memory": 512}
    }"#;

    fn task(family: &str) -> Task {
        Task { family: family.into(), ..serde_json::from_str(TASK).expect("a task") }
    }

    #[test]
    fn the_node_is_named_after_family_and_task() {
        assert_eq!(host_name(&task("my_App")).as_deref(), Some("my-App-e9028f8d"));
        assert_eq!(host_name(&Task::default()), None);
    }

    #[test]
    fn labels_are_what_the_task_has() {
        let identity = Identity::from(task("curltest"));
        let label = |name| identity.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!(label("cluster"), Some("default"));
        assert_eq!(label("task"), Some("e9028f8d5d8e4f258373e7b93ce9a3c3"));
        assert_eq!(label("availability_zone"), Some("us-west-2d"));
        let bare: Task = serde_json::from_str(r#"{"Family": "a"}"#).expect("a task");
        assert_eq!(Identity::from(bare).labels, [("family", "a".to_owned())]);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn an_endpoint_that_is_none_leaves_the_name_to_the_container() {
        for endpoint in ["", "no address", "http:///v4"] {
            assert_eq!(identity(&environment(&[(METADATA, endpoint)])).await, Identity::default());
        }
    }
}
