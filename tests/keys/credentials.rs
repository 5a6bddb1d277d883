//! Tests the AWS credentials by which a secret is read, from each of their places.
//!
//! Who gets the right ones joins.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tempfile::TempDir;
use testbed::api::Api;
use testbed::aws::{self, Aws};
use testbed::daemon::Builder;
use testbed::netns;
use testbed::region::REGION;
use testbed::tailnet::Tailnet;

use crate::scene::{END, READY, executable, key, keyless, live, log_in_again, tailnet, write};

/// Where tasks of ECS, pods of EKS and instances find their credentials.
const OF_TASKS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const OF_PODS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 23);
const OF_INSTANCES: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// A tailnet, an AWS that gives out that many keys to it, and a place for files.
fn scene(keys: usize) -> (Tailnet, Aws, TempDir) {
    let tailnet = tailnet();
    let keys = (0..keys).map(|_| key(&tailnet)).collect();
    (tailnet, Aws::start(keys).expect("AWS"), tempfile::tempdir().expect("directory"))
}

/// With a secret of this AWS, and nothing to prove who asks.
fn asking(tailnet: &Tailnet, aws: &Aws, hostname: &str) -> Builder {
    keyless(tailnet, hostname).env("TETHERD_AUTH_SECRET", "ts").env("AWS_ENDPOINT_URL", &aws.api.url())
}

/// A platform's own address, in the namespace.
fn at(aws: &Aws, address: Ipv4Addr) -> Api {
    netns::add_address(address).expect("an address");
    aws.also_at(SocketAddr::from((address, 80))).expect("an endpoint")
}

/// A program that says the credentials of a process, and may do what this user may: write a cache, and gain privileges.
fn program(directory: &Path) -> String {
    let cache = directory.join("cache").display().to_string();
    let (id, secret) = (aws::PROCESS, aws::secret_of(aws::PROCESS));
    let said = format!(r#"{{"Version": 1, "AccessKeyId": "{id}", "SecretAccessKey": "{secret}"}}"#);
    let may_all = format!("echo text > '{cache}' && grep -q '^NoNewPrivs:.0' /proc/self/status");
    executable(directory, "program", &format!("#!/bin/sh\n{may_all} && echo '{said}'\n"))
}

/// Joins with a token that is kept in a file, and once more when it is another one: the file is read anew each time.
/// `naming` has the daemon find the file.
fn joins_with_each_token(tailnet: &Tailnet, aws: &Aws, hostname: &str, naming: impl FnOnce(Builder, &str) -> Builder) {
    let directory = tempfile::tempdir().expect("directory");
    let [first, second] = [1, 2].map(|number| format!("{hostname}-token-{number}-0123456789"));
    let file = write(directory.path(), "token", &first);
    aws.accept(&first);
    let builder = naming(asking(tailnet, aws, hostname).env("AWS_REGION", REGION), &file);
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
    aws.accept(&second);
    write(directory.path(), "token", &second);
    log_in_again(tailnet, &mut daemon, hostname);
}

#[test]
fn of_profiles_with_keys_with_a_role_and_with_a_program() {
    let (tailnet, aws, home) = scene(3);
    let (id, secret) = (aws::PROFILE, aws::secret_of(aws::PROFILE));
    write(
        home.path(),
        ".aws/credentials",
        &format!("[base]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"),
    );
    let program = program(home.path());
    let config = format!(
        "[profile base]\nregion = {REGION}\n[profile role]\nregion = {REGION}\nrole_arn = {}\nsource_profile = base\n\
         [profile program]\nregion = {REGION}\ncredential_process = {program}\n",
        aws::ROLE
    );
    write(home.path(), ".aws/config", &config);
    for profile in ["base", "role", "program"] {
        let builder = asking(&tailnet, &aws, profile).env("HOME", &home.path().to_string_lossy());
        live(&tailnet, builder.env("AWS_PROFILE", profile), profile);
    }
    assert_eq!(aws.signers(), [aws::PROFILE, aws::ASSUMED, aws::PROCESS]);
}

/// The reaper of orphans must leave the program to the one who waits for it.
#[test]
fn of_a_program_where_the_daemon_is_process_1() {
    let (tailnet, aws, directory) = scene(1);
    let config = format!("[default]\nregion = {REGION}\ncredential_process = {}\n", program(directory.path()));
    let builder = asking(&tailnet, &aws, "first")
        .env("AWS_CONFIG_FILE", &write(directory.path(), "config", &config))
        .program("unshare")
        .args(&["--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_tetherd")]);
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
    assert!(!daemon.output().contains("no AWS credentials"), "{}", daemon.output());
}

#[test]
fn of_a_task_of_ecs() {
    let (tailnet, aws, _) = scene(1);
    let endpoint = at(&aws, OF_TASKS);
    let builder = asking(&tailnet, &aws, "task").env("AWS_REGION", REGION).env("TETHERD_RUNTIME", "ecs");
    live(&tailnet, builder.env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", aws::TASK_PATH), "task");
    assert_eq!((aws.signers(), endpoint.seen().len()), (vec![aws::TASK.to_owned()], 1));
}

/// EKS pod identity.
#[test]
fn of_a_pod_whose_token_changes() {
    let (tailnet, aws, _) = scene(2);
    let _endpoint = at(&aws, OF_PODS);
    joins_with_each_token(&tailnet, &aws, "pod", |builder, file| {
        builder
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("http://{OF_PODS}{}", aws::POD_PATH))
            .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)
    });
    assert_eq!(aws.signers(), [aws::POD, aws::POD]);
}

/// IRSA.
#[test]
fn of_a_service_account_whose_token_changes() {
    let (tailnet, aws, _) = scene(2);
    joins_with_each_token(&tailnet, &aws, "irsa", |builder, file| {
        builder.env("AWS_WEB_IDENTITY_TOKEN_FILE", file).env("AWS_ROLE_ARN", aws::ROLE)
    });
    assert_eq!(aws.signers(), [aws::WEB_IDENTITY, aws::WEB_IDENTITY]);
}

/// The metadata tells the region, too. In ECS it is left alone.
#[test]
fn of_an_instance_and_never_in_ecs() {
    let (tailnet, aws, _) = scene(1);
    let metadata = at(&aws, OF_INSTANCES);
    live(&tailnet, asking(&tailnet, &aws, "instance"), "instance");
    assert_eq!(aws.signers(), [aws::INSTANCE]);
    let asked = metadata.seen().len();
    let builder = asking(&tailnet, &aws, "task").env("AWS_REGION", REGION).env("TETHERD_RUNTIME", "ecs");
    let mut daemon = builder.start().expect("starts");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(78), "{}", daemon.output());
    assert!(daemon.output().contains("no AWS credentials"), "{}", daemon.output());
    assert_eq!(metadata.seen().len(), asked);
}
