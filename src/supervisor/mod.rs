//! Several tailnets: one daemon each, kept by a supervisor.
//!
//! Each daemon is this same program. They share their fate, as what is in one container does: when one fails, the others are stopped in
//! order, and what starts the container again is to decide.

mod ask;
pub(crate) mod daemon_process;
mod exposition;
pub(crate) mod handover;
mod health;
mod stop;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::config::tailnets::TailnetName;
use crate::daemon::listeners::bind;
use crate::daemon::reaper::reap_if_first_process;
use crate::daemon::signals::Signals;
use crate::exit_reason::ExitReason;
use crate::health::server::serve_health;
use crate::process::child::OwnChildren;
use crate::supervisor::ask::DaemonSocket;
use crate::supervisor::daemon_process::{Program, start};
use crate::supervisor::handover::Handover;
use crate::supervisor::health::AllTailnets;
use crate::supervisor::stop::Stop;
use crate::tailscaled::process::state_dir::StateDir;

/// What a supervisor starts.
pub struct SupervisorPlan {
    /// Where health, status and metrics of all tailnets are served.
    pub health_listen: Vec<SocketAddr>,
    pub daemons: Vec<(TailnetName, Handover)>,
    /// Variables for the daemons, without those that bear secrets.
    pub variables: Vec<(OsString, OsString)>,
    /// Longest time from a stop to the end of the last daemon; what runs then is killed.
    pub longest_stop: Duration,
    /// The user's TMPDIR.
    pub temporary: Option<String>,
}

/// Runs the daemons of all tailnets to their ends. Fails with the reason of the first that failed.
pub fn run(plan: SupervisorPlan, signals: Signals) -> Result<(), ExitReason> {
    let directory = StateDir::open(None, plan.temporary.as_deref())
        .map_err(|error| ExitReason::Configuration(error.to_string()))?;
    // One thread: the kernel ends the daemons when the thread that has started them ends.
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ExitReason::Configuration(format!("the event loop cannot be set up: {error}")))?;
    let ended = event_loop.block_on(keep(plan, &directory, signals));
    event_loop.shutdown_background();
    ended
}

async fn keep(plan: SupervisorPlan, directory: &StateDir, signals: Signals) -> Result<(), ExitReason> {
    let mut signals = signals.listen()?;
    let listeners = plan.health_listen.iter().map(|address| bind("health_listen", *address));
    let listeners: Vec<_> = listeners.collect::<Result<_, _>>()?;
    let program = Program { variables: plan.variables, directory: directory.private().to_owned() };
    let own = OwnChildren::default();
    let mut stop = Stop::new(plan.longest_stop);
    let (mut sockets, mut ends) = (Vec::new(), FuturesUnordered::new());
    for (name, handover) in plan.daemons {
        match start(&program, sockets.len(), &name, handover) {
            Ok(daemon) => {
                own.add(daemon.pid);
                tracing::info!(pid = daemon.pid.as_raw(), "the daemon of tailnet {name} is started");
                stop.add(daemon.pid);
                sockets.push(DaemonSocket { name: name.clone(), path: daemon.socket.clone() });
                ends.push(daemon.ended());
            }
            Err(error) => {
                stop.fail(ExitReason::Configuration(format!(
                    "the daemon of tailnet {name} cannot be started: {error}"
                )));
                break;
            }
        }
    }
    reap_if_first_process(own.clone());
    let answers = Arc::new(AllTailnets::new(sockets));
    for listener in listeners {
        tokio::spawn(serve_health(listener, Arc::clone(&answers)));
    }
    loop {
        tokio::select! {
            caught = signals.next() => stop.pass_on(caught.signal),
            ended = ends.next() => match ended {
                Some(ended) => {
                    own.remove(ended.pid);
                    stop.note(&ended);
                }
                None => return stop.result(),
            },
            () = stop.overdue() => stop.kill(),
        }
    }
}
