//! Tests Amazon ECS: metadata endpoint, role of the task, stop timeout.
//!
//! The task's metadata endpoint, imitated, names the node and its metrics; a stop keeps within stopTimeout.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use testbed::daemon::{Builder, Daemon, SOCKS};
use testbed::moto::Moto;
use testbed::region::REGION;
use testbed::server::Server;
use testbed::{KeyOptions, Node, Tailnet, socks, wait_until};

use crate::scene::READY;

const PATH: &str = "/v4/0206b271-b33f-47ab-86c6-a0ba208a70a9";
/// From AWS's documentation.
const TASK: &str = r#"{
    "Cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
    "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c",
    "Family": "my_shop", "ServiceName": "MyService", "Revision": "26", "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
    "PullStartedAt": "2020-10-02T00:43:06.202617438Z", "AvailabilityZone": "us-west-2d", "LaunchType": "FARGATE",
    "Containers": [{"DockerId": "598cba581fe3f939459eaba1e071d5c93bb2c49b7d1ba7db6bb19deeb70d8e38", "Name": "tetherd"}]
}"#;
const NAME: &str = "my-shop-158d1c80";
/// What ECS gives a container between SIGTERM and SIGKILL unless told otherwise.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Where ECS hands out what a task's role may do, <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>
const ROLE: &str = "169.254.170.2";
const ROLE_PATH: &str = "/v2/credentials/158d1c80-83dd-49d6-b527-399fd6414f5c";
const CREDENTIALS: &str = r#"{"AccessKeyId": "ASIAIOSFODNN7EXAMPLE", "SecretAccessKey": "secret", "Token": "token",
    "RoleArn": "arn:aws:iam::111122223333:role/shop", "Expiration": "2099-01-01T00:00:00Z"}"#;

/// Answers a question for the task, after `refusals` with "too many requests", as AWS's own does under load.
fn metadata(refusals: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    answer(listener, refusals, format!("{PATH}/task"), TASK);
    address
}

/// Gives credentials at the address that is the same in every task.
fn task_role() {
    let added = Command::new("ip").args(["addr", "add", &format!("{ROLE}/32"), "dev", "lo"]).status();
    assert!(added.expect("ip runs").success());
    answer(TcpListener::bind((ROLE, 80)).expect("a port"), 0, ROLE_PATH.to_owned(), CREDENTIALS);
}

fn answer(listener: TcpListener, refusals: usize, path: String, found: &'static str) {
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let (status, body) = match line.trim_end() {
                _ if number < refusals => ("429 Too Many Requests", ""),
                line if line == format!("GET {path} HTTP/1.1") => ("200 OK", found),
                _ => ("404 Not Found", ""),
            };
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
    });
}

fn scene() -> Tailnet {
    Tailnet::apart().expect("a tailnet")
}

/// The daemon in a task whose metadata are at `endpoint`; without a name of its own.
fn in_task(tailnet: &Tailnet, endpoint: SocketAddr) -> Builder {
    Daemon::builder(env!("CARGO_BIN_EXE_tetherd"))
        .joining(tailnet, "unused")
        .expect("an auth key")
        .env_remove("TETHERD_HOSTNAME")
        .env("ECS_CONTAINER_METADATA_URI_V4", &format!("http://{endpoint}{PATH}"))
}

fn ready(builder: Builder) -> Daemon {
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).expect("is ready");
    daemon
}

#[test]
fn the_node_and_the_metrics_are_named_after_the_task() {
    let tailnet = scene();
    let daemon = ready(in_task(&tailnet, metadata(1)));
    assert!(tailnet.node(NAME).expect("nodes").is_some(), "{}", daemon.output());
    let place = daemon.place().expect("the place");
    for label in
        ["cluster=\"default\"", "task=\"158d1c8083dd49d6b527399fd6414f5c\"", "family=\"my_shop\"", "revision=\"26\""]
    {
        assert!(place.contains(label), "{label} is missing in {place}");
    }
    daemon.first_record().expect("logs are JSON");
}

#[test]
fn a_name_that_is_set_wins() {
    let tailnet = scene();
    let _daemon = ready(in_task(&tailnet, metadata(0)).env("TETHERD_HOSTNAME", "chosen"));
    assert!(tailnet.node("chosen").expect("nodes").is_some());
}

#[test]
fn an_endpoint_that_never_answers_costs_two_seconds_and_no_connection() {
    let tailnet = scene();
    let _web = Node::join(&tailnet, "web").expect("a second node");
    let _server = Server::echo(7).expect("server");
    let silent = Server::silent(0).expect("server");
    let mut daemon = in_task(&tailnet, silent.address()).start().expect("starts");
    let early = wait_until("the proxy listens", READY, || socks::connect(SOCKS, "web", 7, None).ok());
    early.expect("a connection that comes meanwhile waits");
    daemon.wait_ready(READY).expect("is ready");
    assert!(daemon.stderr().contains("the task's metadata cannot be had"), "{}", daemon.stderr());
}

#[test]
fn a_stop_with_a_connection_that_never_ends_keeps_within_stop_timeout() {
    let tailnet = scene();
    let _web = Node::join(&tailnet, "web").expect("a second node");
    let _server = Server::silent(91).expect("server");
    let mut daemon = ready(in_task(&tailnet, metadata(0)));
    let _open = socks::connect(SOCKS, "web", 91, None).expect("connects");
    daemon.terminate().expect("SIGTERM");
    let asked = Instant::now();
    assert_eq!(daemon.wait_exit(STOP_TIMEOUT).expect("ends in time").code(), Some(0), "{}", daemon.stderr());
    assert!(asked.elapsed() >= Duration::from_secs(20), "connections get 20 s, these {:?}", asked.elapsed());
    assert!(tailnet.node(NAME).expect("nodes").is_none());
}

#[test]
fn the_key_is_read_with_the_role_of_the_task() {
    let tailnet = scene();
    let moto = Moto::start(&tailnet).expect("moto");
    task_role();
    let key = tailnet.auth_key(KeyOptions { reusable: true, ephemeral: true }).expect("a key");
    let secret = moto.store("tailnet/auth-key", &key).expect("stored");
    let builder = in_task(&tailnet, metadata(0)).env_remove("TETHERD_AUTH_KEY").env("TETHERD_AUTH_SECRET", &secret);
    let builder = builder.env("AWS_ENDPOINT_URL", &moto.url()).env("AWS_REGION", REGION);
    let _daemon = ready(builder.env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ROLE_PATH));
    assert!(tailnet.node(NAME).expect("nodes").is_some());
}
