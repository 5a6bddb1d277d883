//! Asks the running daemon: the commands `wait`, `healthcheck` and `status`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use hyper::StatusCode;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::cli::client::{block_on, get};
use crate::cli::output::{complain, say};
use crate::status::Document;

/// Time between two requests of `wait`, which polls: the daemon is another process and may not have started yet.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Blocks until the daemon is ready, for `limit` at most.
pub fn wait(health: SocketAddr, limit: Duration) -> ExitCode {
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
pub fn healthcheck(health: SocketAddr) -> ExitCode {
    exit_code(block_on(async { readiness(health).await?.map_err(|reason| anyhow::anyhow!("not ready: {reason}")) }))
}

/// Shows the status document, for a person or as `json`.
pub fn status(health: SocketAddr, json: bool) -> ExitCode {
    exit_code(block_on(async {
        let (_, body) = get(health, "/status").await?;
        if json {
            say(String::from_utf8_lossy(&body).trim_end());
            return Ok(());
        }
        let whole: Value = serde_json::from_slice(&body).context("the daemon's status is not understood")?;
        if whole.get("version").is_none() {
            say(&format!("state  {}; the rest is told on loopback alone, and health_listen is not", verdict(&whole)));
            return Ok(());
        }
        let document: Document = serde_json::from_value(whole).context("the daemon's status is not understood")?;
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
    }))
}

/// Asks whether the daemon is ready: `Ok(Ok)`, or `Ok(Err)` with its reason why not. Fails where it does not answer.
async fn readiness(health: SocketAddr) -> anyhow::Result<Result<(), String>> {
    let (status, body) = get(health, "/readyz").await?;
    if status == StatusCode::OK {
        return Ok(Ok(()));
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
