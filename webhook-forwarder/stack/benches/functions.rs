//! Benchmark of the functions in AWS's runtime interface emulator.
//!
//! `cargo bench --workspace --profile dev --bench functions`: the functions are those that `make functions` has built.
//! How long each takes from its first invocation, with which the emulator starts it, to the response; what a warm
//! invocation costs through the tailnet, with the layer, beside one that dials the same target directly, in blocks in
//! turn whose first invocations do not count. Also in `target/bench/webhook.json`.

#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../forwarder/tests/emulated/gateway.rs"]
mod gateway;
#[path = "../../../benches/report.rs"]
mod report;
#[expect(dead_code, reason = "the tests need more of it")]
#[path = "../../forwarder/tests/emulated/target.rs"]
mod target;

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::lambda::{Builder, Environment};
use testbed::{Node, Tailnet, netns};

use gateway::Call;
use report::{Report, Row, Series};
use target::Target;

const PORT: u16 = 8000;
const COLD: usize = 9;
/// 500 of each, in two blocks.
const BLOCKS: usize = 2;
const WARM: usize = 250;
const SETTLING: usize = 25;

fn main() -> Result<()> {
    netns::enter_new()?;
    let tailnet = Tailnet::start()?;
    let _web = Node::join(&tailnet, "web")?;
    let _target = Target::start(PORT)?;
    let [authorizer, forwarder, rotation] = [authorizer()?, cold_forwarder()?, rotation()?];
    let (mut direct, mut tunnelled) = (Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        direct.extend(warm(&forwarder_with("127.0.0.1")?.env("TS_SOCKS_PROXY", "none").start()?)?);
        tunnelled.extend(warm(&forwarder_with("web")?.layer_of(layer()?.path())?.joining(&tailnet)?.start()?)?);
    }
    let direct = Series::new("warm invocation, direct", "us", direct)?;
    let tunnelled = Series::new("warm invocation, through the tailnet", "us", tunnelled)?;
    let rows = vec![
        Row::at_most("warm, tailnet - direct", 1.0, "ms", (tunnelled.median() - direct.median()) / 1000.0),
        Row::under("first answer, authorizer", 30.0, "ms", authorizer.median()),
        Row::under("first answer, forwarder", 30.0, "ms", forwarder.median()),
        Row::under("first answer, rotation", 30.0, "ms", rotation.median()),
    ];
    let report = Report { rows, series: vec![direct, tunnelled, authorizer, forwarder, rotation] };
    print!("{report}");
    report.save(&built().join("../bench/webhook.json"))
}

/// Microseconds, as the caller of the function sees them.
fn warm(environment: &Environment) -> Result<Vec<f64>> {
    let event = Call::post(br#"{"hello":"world"}"#).v2();
    let mut times = Vec::new();
    for number in 0..SETTLING + WARM {
        let (answer, time) = environment.timed(&event)?;
        ensure!(answer["statusCode"] == 200, "{answer}:\n{}", environment.log());
        times.extend((number >= SETTLING).then_some(time.as_secs_f64() * 1e6));
    }
    Ok(times)
}

fn cold(name: &'static str, event: &Value, start: impl Fn() -> Result<Builder>) -> Result<Series> {
    let mut times = Vec::new();
    for number in 0..=COLD {
        let environment = start()?.start()?;
        let (answer, time) = environment.timed(event)?;
        ensure!(!answer.is_null(), "no answer:\n{}", environment.log());
        times.extend((number > 0).then_some(time.as_secs_f64() * 1000.0));
    }
    Series::new(name, "ms", times)
}

fn authorizer() -> Result<Series> {
    let event = json!({ "requestContext": { "http": { "sourceIp": "192.0.2.1" } } });
    cold("first answer, authorizer", &event, || Ok(function("Authorizer")?.env("AUTHD_SOURCE_CIDR", "192.0.2.0/24")))
}

fn cold_forwarder() -> Result<Series> {
    let event = Call::post(b"{}").v2();
    let start = || Ok(forwarder_with("127.0.0.1")?.env("TS_SOCKS_PROXY", "none"));
    cold("first answer, forwarder", &event, start)
}

/// It starts, and has nothing to do for an event that is none.
fn rotation() -> Result<Series> {
    let start = || Ok(function("Rotation")?.env("OAUTH_SECRET_ARN", "arn").env("TAG_NAME", "web"));
    cold("first answer, rotation", &json!({ "Step": "none" }), start)
}

fn forwarder_with(target: &str) -> Result<Builder> {
    let builder = function("Forwarder")?.env("TS_TARGET", target).env("TS_PORT", &PORT.to_string());
    Ok(builder.env("SIGNATURE_SCHEME", "none").env("PROXY_RESPONSE", "FULL").env("AWS_LAMBDA_FUNCTION_TIMEOUT", "60"))
}

fn function(name: &str) -> Result<Builder> {
    let unpacked = unpacked(&built().join(format!("x86_64/{name}Function.zip")), "make functions")?;
    let program = unpacked.path().join("bootstrap");
    Builder::new("sh", &program, &program)
}

fn layer() -> Result<TempDir> {
    unpacked(&built().join("../layer/tetherd-layer-x86_64.zip"), "make layer")
}

fn unpacked(path: &Path, by: &str) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    let file = File::open(path).with_context(|| format!("{} is missing: run `{by}`", path.display()))?;
    zip::ZipArchive::new(file)?.extract(directory.path())?;
    Ok(directory)
}

fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").join("webhook")
}
