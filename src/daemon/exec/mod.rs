//! A life with a command in it: listeners → tailscaled → join → the command → drain → logout → exit with its code.
//! While the command runs, signals are for it, and the daemon serves until it has ended.

pub(crate) mod command;
pub(crate) mod proxy_variables;

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::daemon::Daemon;
use crate::daemon::exec::command::{CommandSpec, ExecCommand};
use crate::daemon::exec::proxy_variables::{ProxyVariables, without_those_set};
use crate::daemon::signals::{Listening, Signals};
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::platform::lifecycle::StopRequest;
use crate::state::{Phase, State};

/// What shells add to a signal's number.
const KILLED_BY: i32 = 128;

/// How the command's part of the life ended.
struct Ended {
    code: u8,
    why: String,
    /// Whether the daemon was asked to stop meanwhile.
    asked: bool,
}

/// Runs `job` as soon as the daemon is ready, and both to their ends. Returns the exit code.
pub async fn accompany(
    mut life: Daemon,
    job: CommandSpec,
    environment: &Environment,
    signals: Signals,
) -> Result<u8, ExitReason> {
    let mut signals = signals.listen()?;
    let ended = match until_ready(&mut life, &mut signals).await {
        Ok(None) => beside(&mut life, &job, environment, &mut signals).await,
        Ok(Some(signal)) => Ok(stopped_before(signal)),
        Err(fatal) => Err(fatal),
    };
    match &ended {
        Ok(ended) => {
            let request = StopRequest { reason: ended.why.clone(), deadline: None };
            life.shut_down(Ok(&request), &mut signals, ended.asked).await;
        }
        Err(fatal) => life.shut_down(Err(fatal), &mut signals, true).await,
    }
    ended.map(|ended| ended.code)
}

/// `Some` when the daemon was asked to stop before it was ready.
async fn until_ready(life: &mut Daemon, signals: &mut Listening) -> Result<Option<Signal>, ExitReason> {
    let mut state = life.publisher.watch();
    // One for the whole loop: start_timeout counts from the start, not from the latest signal.
    let failure = life.failure();
    tokio::pin!(failure);
    loop {
        tokio::select! {
            caught = signals.next() => match caught.stops() {
                true => return Ok(Some(caught.signal)),
                false => tracing::debug!(signal = caught.signal.as_str(), "there is no command yet to pass it on to"),
            },
            fatal = &mut failure => return Err(fatal),
            () = async { drop(state.wait_for(State::is_ready).await) } => return Ok(None),
        }
    }
}

/// The command did not run, which must not look like success.
fn stopped_before(signal: Signal) -> Ended {
    let why = format!("{signal} was received before the command was started");
    Ended { code: code_of(KILLED_BY + signal as i32), why, asked: true }
}

async fn beside(
    life: &mut Daemon,
    job: &CommandSpec,
    environment: &Environment,
    signals: &mut Listening,
) -> Result<Ended, ExitReason> {
    let variables = variables(life, job, environment);
    let mut companion = ExecCommand::start(job, variables, &life.redactor, life.children.clone())?;
    let mut asked = false;
    loop {
        tokio::select! {
            status = companion.wait() => return Ok(ended(status, asked)),
            caught = signals.next() => {
                asked |= caught.stops();
                companion.pass_on(caught);
            }
            fatal = life.failure() => {
                life.publisher.publish(Phase::Failed, &fatal.to_string());
                companion.end(life.drain_timeout, signals).await;
                return Err(fatal);
            }
        }
    }
}

fn variables(life: &Daemon, job: &CommandSpec, environment: &Environment) -> Vec<(String, String)> {
    let Some(proxy) = life.proxy else {
        tracing::warn!("socks_listen has no TCP address; the command gets no proxy variables");
        return Vec::new();
    };
    let variables = ProxyVariables::new(proxy, life.credentials.as_ref(), &job.direct, environment);
    without_those_set(variables, environment)
}

fn ended(status: io::Result<ExitStatus>, asked: bool) -> Ended {
    match status {
        Ok(status) => {
            let killed = || KILLED_BY + status.signal().unwrap_or(0);
            Ended {
                code: code_of(status.code().unwrap_or_else(killed)),
                why: format!("the command ended: {status}"),
                asked,
            }
        }
        Err(error) => {
            tracing::error!(%error, "how the command ended cannot be learnt; it counts as failed");
            Ended { code: 1, why: "the command ended".to_owned(), asked }
        }
    }
}

fn code_of(number: i32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
