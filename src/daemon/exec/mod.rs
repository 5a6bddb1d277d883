//! Runs the daemon with a command, and ends with the command's exit code.
//!
//! Listeners → tailscaled → join → the command → drain → logout → exit. While the command runs, signals are for it, and
//! the daemon serves until it has ended.

pub(crate) mod command;
pub(crate) mod java_options;
pub(crate) mod proxy_variables;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::daemon::exec::command::{CommandSpec, ExecCommand};
use crate::daemon::exec::proxy_variables::{ProxyVariables, without_those_set};
use crate::daemon::readiness::StateEvent;
use crate::daemon::running::Daemon;
use crate::daemon::signals::{Listening, Signals};
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::platform::lifecycle::StopRequest;
use crate::state::State;

/// What shells add to a signal's number to make an exit code.
const KILLED_BY: i32 = 128;

/// How the command ended, or that it was never started.
struct CommandEnd {
    code: u8,
    /// One sentence for the published state.
    why: String,
    /// Whether the daemon was asked to stop meanwhile.
    asked: bool,
}

/// Runs the command of `spec` as soon as the daemon is ready, and both to their ends. Returns the exit code.
pub async fn run_with_command(
    mut daemon: Daemon,
    spec: CommandSpec,
    environment: &Environment,
    signals: Signals,
) -> Result<u8, ExitReason> {
    let mut signals = signals.listen()?;
    let ended = match until_ready(&mut daemon, &mut signals).await {
        Ok(None) => run_command(&mut daemon, &spec, environment, &mut signals).await,
        Ok(Some(signal)) => Ok(stopped_before(signal)),
        Err(reason) => Err(reason),
    };
    match &ended {
        Ok(ended) => {
            let request = StopRequest { reason: ended.why.clone(), deadline: None };
            daemon.shut_down(Ok(&request), &mut signals, ended.asked).await;
        }
        Err(reason) => daemon.shut_down(Err(reason), &mut signals, true).await,
    }
    ended.map(|ended| ended.code)
}

/// Waits until the daemon is ready. `Some` when it was asked to stop before; fails when it cannot become ready.
async fn until_ready(daemon: &mut Daemon, signals: &mut Listening) -> Result<Option<Signal>, ExitReason> {
    let mut state = daemon.state.watch();
    // One future for the whole loop: start_timeout counts from the start, not from the latest signal.
    let failure = daemon.failure();
    tokio::pin!(failure);
    loop {
        tokio::select! {
            caught = signals.next() => match caught.stops() {
                true => return Ok(Some(caught.signal)),
                false => tracing::debug!(signal = caught.signal.as_str(), "there is no command yet to pass it on to"),
            },
            reason = &mut failure => return Err(reason),
            () = async { drop(state.wait_for(State::is_ready).await) } => return Ok(None),
        }
    }
}

/// Makes the end of a command that was not started, which is no success.
fn stopped_before(signal: Signal) -> CommandEnd {
    let why = format!("{signal} was received before the command was started");
    CommandEnd { code: code_of(KILLED_BY + signal as i32), why, asked: true }
}

/// Runs the command to its end, passing signals on to it. Where the daemon fails meanwhile the command is ended.
async fn run_command(
    daemon: &mut Daemon,
    spec: &CommandSpec,
    environment: &Environment,
    signals: &mut Listening,
) -> Result<CommandEnd, ExitReason> {
    let variables = proxy_variables(daemon, spec, environment);
    let mut command = ExecCommand::start(spec, variables, &daemon.redactor, daemon.children.clone())?;
    let mut asked = false;
    loop {
        tokio::select! {
            status = command.wait() => return Ok(ended(status, asked)),
            caught = signals.next() => {
                asked |= caught.stops();
                command.pass_on(caught);
            }
            reason = daemon.failure() => {
                daemon.state.publish(StateEvent::Failed(&reason));
                command.end(daemon.drain_timeout, signals).await;
                return Err(reason);
            }
        }
    }
}

/// Lists the proxy variables for the command, name and value.
fn proxy_variables(daemon: &Daemon, spec: &CommandSpec, environment: &Environment) -> Vec<(String, String)> {
    let Some(proxy) = daemon.proxy_address else {
        tracing::warn!("socks_listen has no TCP address but for balancers; the command gets no proxy variables");
        return Vec::new();
    };
    let variables =
        ProxyVariables::new((proxy, daemon.env_all_proxy), daemon.credentials.as_ref(), &spec.direct, environment);
    without_those_set(variables, environment)
}

/// Turns the command's status into its exit code, as shells do.
fn ended(status: io::Result<ExitStatus>, asked: bool) -> CommandEnd {
    match status {
        Ok(status) => {
            let killed = || KILLED_BY + status.signal().unwrap_or(0);
            CommandEnd {
                code: code_of(status.code().unwrap_or_else(killed)),
                why: format!("the command ended: {status}"),
                asked,
            }
        }
        Err(error) => {
            tracing::error!(%error, "how the command ended cannot be learnt; it counts as failed");
            CommandEnd { code: 1, why: "the command ended".to_owned(), asked }
        }
    }
}

/// Turns a status or a signal's number into an exit code.
fn code_of(number: i32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
