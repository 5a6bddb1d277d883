//! Asks the running daemon: the commands `wait`, `healthcheck` and `status`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::cli::client::{block_on, get};
use crate::cli::output::{complain, say};
use crate::status::Document;

/// Time between two requests of `wait`, which polls: the daemon is another process and may not have started yet.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Where a running daemon answers.
#[derive(Clone, Debug)]
pub struct Health {
    pub address: SocketAddr,
    /// Beginning of its paths: that of one tailnet, or empty.
    pub prefix: String,
}

impl Health {
    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

/// Blocks until the daemon is ready, for `limit` at most.
pub fn wait(health: &Health, limit: Duration) -> ExitCode {
    let result = block_on(async {
        let mut last = "no answer yet".to_owned();
        let ready = async {
            loop {
                match readiness(health).await {
                    Ok(Ok(())) => return,
                    Ok(Err(reason)) => last = reason,
                    Err(error) => last = format!("{error:#}"),
                }
                sleep(ASK_EVERY).await;
            }
        };
        let in_time = timeout(limit, ready).await.is_ok();
        if !in_time {
            anyhow::bail!("not ready within {}: {last}", humantime::format_duration(limit));
        }
        Ok(())
    });
    exit_code(result)
}

/// Asks once whether the daemon is ready.
pub fn healthcheck(health: &Health) -> ExitCode {
    exit_code(block_on(async { readiness(health).await?.map_err(|reason| anyhow::anyhow!("not ready: {reason}")) }))
}

/// Shows the status document, for a person or as `json`.
pub fn status(health: &Health, json: bool) -> ExitCode {
    exit_code(block_on(async {
        let (_, body) = get(health.address, &health.path("/status")).await?;
        if json {
            say(String::from_utf8_lossy(&body).trim_end());
            return Ok(());
        }
        let whole: Value = serde_json::from_slice(&body).context("the daemon's status is not understood")?;
        match whole.get("tailnets").and_then(Value::as_object) {
            Some(tailnets) => tailnets.iter().try_for_each(|(name, document)| {
                say(&format!("[tailnet.{name}]"));
                show(document)
            }),
            None => show(&whole),
        }
    }))
}

/// Shows the document of one daemon to a person.
fn show(whole: &Value) -> anyhow::Result<()> {
    if whole.get("version").is_none() {
        let remote =
            whole.get("since").map_or("", |_| "; the rest is told on loopback alone, and health_listen is not");
        say(&format!("state  {}{remote}", verdict(whole)));
        return Ok(());
    }
    let document = Document::deserialize(whole).context("the daemon's status is not understood")?;
    let lines = document.lines();
    let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    for (label, text) in lines {
        say(&format!("{label:width$}  {text}"));
    }
    for peer in document.snapshot.peers {
        let online = if peer.online { "online" } else { "offline" };
        let addresses: Vec<String> = peer.addresses.iter().map(ToString::to_string).collect();
        say(&format!("{:width$}  {} ({}) {online}", "peer", peer.name, addresses.join(", ")));
    }
    Ok(())
}

/// Asks whether the daemon is ready: `Ok(Ok)`, or `Ok(Err)` with its reason why not. Fails where it does not answer.
async fn readiness(health: &Health) -> anyhow::Result<Result<(), String>> {
    let (status, body) = get(health.address, &health.path("/readyz")).await?;
    if status == StatusCode::OK {
        return Ok(Ok(()));
    }
    if status == StatusCode::NOT_FOUND {
        return Ok(Err("the daemon that answers does not serve this tailnet".to_owned()));
    }
    let body: Value = serde_json::from_slice(&body).context("the daemon's answer is not understood")?;
    Ok(Err(verdict(&body)))
}

/// Phase and reason.
fn verdict(body: &Value) -> String {
    let text = |field: &str| body[field].as_str().unwrap_or("?").to_owned();
    format!("{}: {}", text("state"), text("reason"))
}

/// Turns the result into an exit code, and says on stderr what went wrong.
fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("tetherd: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
