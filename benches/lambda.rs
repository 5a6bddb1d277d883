//! Benchmark of cold starts in AWS Lambda's emulator: `cargo bench --bench lambda`.
//!
//! Three functions run in the runtime interface emulator, side by side and in turn: with no extension, with the layer
//! as `make layer` built it, and with a shell script that has tailscaled, curl for the secret and `tailscale up`. The
//! latter two fetch the key from moto, under AWS's name. The clock runs from the first invocation, with which the
//! emulator starts everything, to its answer. A first round does not count. `BENCH_ROUNDS` (7) rounds; results also in
//! `target/bench/lambda.json`.

mod report;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testbed::lambda::{Builder, Environment};
use testbed::moto::Moto;
use testbed::region::{REGION, secrets_manager_host};
use testbed::{KeyOptions, Tailnet, netns, parts};

use report::{Report, Row, Series};

/// What runs once after the join is over by then.
const SETTLE: Duration = Duration::from_secs(1);
const KEY: KeyOptions = KeyOptions { reusable: true, ephemeral: true };
const SECRET: &str = "tailnet-key";

/// What one round has measured.
struct Round {
    alone: Duration,
    layer: Duration,
    /// The key stands in the environment.
    given: Duration,
    shell: Duration,
    stop: Duration,
    pss: u64,
    shell_pss: u64,
}

fn main() -> Result<()> {
    let rounds: usize = env::var("BENCH_ROUNDS").map_or(Ok(7), |text| text.parse()).context("BENCH_ROUNDS")?;
    let zip = target()?.join("layer/tetherd-layer-x86_64.zip");
    let layer = tempfile::tempdir()?;
    zip::ZipArchive::new(File::open(&zip).context("run `make layer`")?)?.extract(layer.path())?;
    netns::enter_new()?;
    let tailnet = Tailnet::start()?;
    let key = tailnet.auth_key(KEY)?;
    let moto = Moto::start(&tailnet)?;
    moto.store(SECRET, &key)?;
    let mut measured = Vec::new();
    for number in 0..=rounds {
        let round = round(&tailnet, layer.path(), &key).with_context(|| format!("in round {number}"))?;
        eprintln!("round {number}: none {:?}, layer {:?}, shell {:?}", round.alone, round.layer, round.shell);
        measured.extend((number > 0).then_some(round));
    }
    let report = evaluate(&measured, fs::metadata(&zip)?.len())?;
    print!("{report}");
    report.save(&target()?.join("bench/lambda.json"))
}

fn round(tailnet: &Tailnet, layer: &Path, key: &str) -> Result<Round> {
    let environment = function()?.start()?;
    let alone = first_answer(&environment)?;
    drop(environment);
    let with_layer = || function()?.layer_of(layer)?.joining(tailnet);
    let environment = with_layer()?.env("TETHERD_AUTH_KEY", key).start()?;
    let given = first_answer(&environment)?;
    environment.shut_down()?;
    drop(environment);
    let builder = in_aws(with_layer()?.env_remove("TETHERD_AUTH_KEY")).env("TETHERD_AUTH_SECRET", SECRET);
    let environment = builder.start()?;
    let layer = first_answer(&environment)?;
    ensure!(tailnet.node("my-function")?.is_some(), "the node did not join:\n{}", environment.log());
    sleep(SETTLE);
    let pss = pss(&environment)?;
    let stop = environment.shut_down()?;
    ensure!(tailnet.node("my-function")?.is_none(), "the node is still there:\n{}", environment.log());
    drop(environment);
    let environment = shell_extension(tailnet)?.start()?;
    let shell = first_answer(&environment)?;
    sleep(SETTLE);
    let shell_pss = self::pss(&environment)?;
    tailnet.delete_node("shell").with_context(|| environment.log())?;
    drop(environment);
    Ok(Round { alone, layer, given, shell, stop, pss, shell_pss })
}

/// With what Lambda gives a function to ask AWS with, and moto under AWS's name.
fn in_aws(builder: Builder) -> Builder {
    builder
        .env("AWS_REGION", REGION)
        .env("AWS_ACCESS_KEY_ID", "ASIAFUNCTION")
        .env("AWS_SECRET_ACCESS_KEY", "the-functions-own-secret")
        .env("AWS_SESSION_TOKEN", "the-functions-own-token")
        .host(&secrets_manager_host())
}

/// The quickest function there is.
fn function() -> Result<Builder> {
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lambda/functions");
    Builder::new("sh", &functions.join("function.sh"), &functions.join("bootstrap"))
}

fn shell_extension(tailnet: &Tailnet) -> Result<Builder> {
    let builder = function()?;
    fs::create_dir_all(builder.layer().join("extensions"))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/lambda/shell_extension");
    fs::copy(script, builder.layer().join("extensions/shell_extension"))?;
    fs::create_dir_all(builder.layer().join("bin"))?;
    for program in ["tailscaled", "tailscale"] {
        fs::copy(parts::find(program)?, builder.layer().join("bin").join(program))?;
    }
    let authority = builder.layer().join("ca.pem");
    fs::copy(tailnet.ca_file(), &authority)?;
    Ok(in_aws(builder)
        .env("CONTROL_URL", &tailnet.control_url())
        .env("SSL_CERT_FILE", "/opt/ca.pem")
        .env("SECRET", SECRET))
}

fn first_answer(environment: &Environment) -> Result<Duration> {
    let (answer, time) = environment.timed(&json!({}))?;
    ensure!(answer["hello"] == "world", "{answer}:\n{}", environment.log());
    Ok(time)
}

/// Of the extension and all it has started, in KiB.
fn pss(environment: &Environment) -> Result<u64> {
    let mut sum = 0;
    let tree = ["tetherd", "tailscaled", "shell_extension"];
    for entry in environment.processes().iter().filter(|entry| tree.contains(&entry.name.as_str())) {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", entry.pid))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss")?;
        sum += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(sum)
}

fn evaluate(rounds: &[Round], size: u64) -> Result<Report> {
    let milliseconds = |name, of: fn(&Round) -> Duration| {
        Series::new(name, "ms", rounds.iter().map(|round| of(round).as_secs_f64() * 1000.0).collect())
    };
    let kib = |name, of: fn(&Round) -> u64| Series::new(name, "KiB", rounds.iter().map(|it| of(it) as f64).collect());
    let alone = milliseconds("first answer, no extension", |round| round.alone)?;
    let layer = milliseconds("first answer, tetherd's layer", |round| round.layer)?;
    let given = milliseconds("first answer, layer, key in the environment", |round| round.given)?;
    let shell = milliseconds("first answer, shell script, tailscale up", |round| round.shell)?;
    let stop = milliseconds("SHUTDOWN to gone, node logged out", |round| round.stop)?;
    let pss = kib("tetherd's layer, Pss when idle", |round| round.pss)?;
    let shell_pss = kib("shell script, Pss when idle", |round| round.shell_pss)?;
    let rows = vec![
        Row::at_most("first answer, layer - no extension", 200.0, "ms", layer.median() - alone.median()),
        Row::at_most("first answer, layer / shell script", 0.5, "", layer.median() / shell.median()),
        Row::under("SHUTDOWN to gone, node logged out", 500.0, "ms", stop.median()),
        Row::at_most("idle PSS of the extension's tree", 40.0, "MiB", pss.median() / 1024.0),
        Row::at_most("layer zip", 10.0, "MB", size as f64 / 1e6),
    ];
    Ok(Report { rows, series: vec![alone, layer, given, shell, stop, pss, shell_pss] })
}

/// cargo's target directory, wherever that is.
fn target() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("the target directory has no name")?;
    Ok(target.to_owned())
}
