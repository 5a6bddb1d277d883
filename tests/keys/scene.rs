//! The scene of key tests: a tailnet in a namespace, and daemons.
//!
//! The daemons get their key from somewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use testbed::admin::KeyOptions;
use testbed::daemon::{Builder, Daemon};
use testbed::moto::Moto;
use testbed::region::REGION;
use testbed::tailnet::Tailnet;
use testbed::tailscale_api::{TAG, TailscaleApi};
use testbed::wait::wait_until;

/// Far more than joining takes, also on a machine with other work.
pub const READY: Duration = Duration::from_secs(60);
pub const END: Duration = Duration::from_secs(30);

pub const AWS_SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY";
pub const AWS_SESSION: &str = "session-token-0123456789";

/// A tailnet where the one user owns the tag.
pub fn tailnet() -> Tailnet {
    let tailnet = Tailnet::apart().expect("a tailnet");
    let policy =
        format!(r#"{{"tagOwners":{{"{TAG}":["tester@"]}},"acls":[{{"action":"accept","src":["*"],"dst":["*:*"]}}]}}"#);
    tailnet.set_policy(&policy).expect("a policy");
    tailnet
}

/// An auth key for one ephemeral node.
pub fn key(tailnet: &Tailnet) -> String {
    tailnet.auth_key(KeyOptions { reusable: false, ephemeral: true }).expect("a key")
}

/// The daemon with everything but a key.
pub fn keyless(tailnet: &Tailnet, hostname: &str) -> Builder {
    bare()
        .env("TETHERD_CONTROL_URL", &tailnet.control_url())
        .env("TETHERD_CA_FILE", &tailnet.ca_file().to_string_lossy())
        .env("TETHERD_HOSTNAME", hostname)
}

/// The daemon with nothing set.
pub fn bare() -> Builder {
    Daemon::builder(env!("CARGO_BIN_EXE_tetherd"))
}

/// With this secret of moto's, and credentials as Lambda gives them.
pub fn stored(builder: Builder, moto: &Moto, name: &str) -> Builder {
    with_credentials(in_aws(builder, moto).env("TETHERD_AUTH_SECRET", name))
}

pub fn in_aws(builder: Builder, moto: &Moto) -> Builder {
    builder.env("AWS_ENDPOINT_URL", &moto.url()).env("AWS_REGION", REGION)
}

pub fn with_credentials(builder: Builder) -> Builder {
    let builder = builder.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE");
    builder.env("AWS_SECRET_ACCESS_KEY", AWS_SECRET).env("AWS_SESSION_TOKEN", AWS_SESSION)
}

/// With Tailscale's API in the place of its own.
pub fn with_api(builder: Builder, api: &TailscaleApi) -> Builder {
    builder.env("TETHERD_API_URL", &api.api.url()).env("TETHERD_TAGS", TAG)
}

/// Writes a file and returns its path.
pub fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    fs::write(&path, text).expect("written");
    path.to_string_lossy().into_owned()
}

/// Writes a program and returns its path.
pub fn executable(directory: &Path, name: &str, text: &str) -> String {
    let path = write(directory, name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    path
}

/// Has the node expire, and waits until it has logged in anew.
pub fn log_in_again(tailnet: &Tailnet, daemon: &mut Daemon, hostname: &str) {
    tailnet.expire_node(hostname).expect("expired");
    wait_until("it notices", READY, || (daemon.readyz().ok()?.0 == 503).then_some(())).expect("notices");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
}

/// Joins, leaves, and returns all that was written.
pub fn live(tailnet: &Tailnet, builder: Builder, hostname: &str) -> String {
    let mut daemon = builder.start().expect("starts");
    daemon.wait_ready(READY).unwrap_or_else(|error| panic!("{error}\n{}", tailnet.log()));
    let node = tailnet.node(hostname).expect("nodes").unwrap_or_else(|| panic!("no node {hostname}"));
    assert!(node.is_ephemeral(), "{node:?}");
    daemon.terminate().expect("SIGTERM");
    assert!(daemon.wait_exit(END).expect("ends").success(), "{}", daemon.output());
    daemon.output()
}
