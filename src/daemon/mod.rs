//! Runs the daemon once, from its listeners to its end.
//!
//! Listeners → tailscaled → join → serve → drain → logout → exit.

pub(crate) mod build;
pub(crate) mod cloudwatch_emf;
pub(crate) mod confine;
pub(crate) mod context;
pub(crate) mod exec;
pub(crate) mod fd_limits;
pub(crate) mod listeners;
pub(crate) mod memory_limit;
pub(crate) mod metrics;
pub(crate) mod own_proxy;
pub(crate) mod prewarm;
pub(crate) mod readiness;
pub(crate) mod reaper;
pub(crate) mod running;
pub(crate) mod shutdown;
pub(crate) mod signals;
pub(crate) mod status;

use crate::config::settings::Settings;
use crate::daemon::build::build_daemon;
use crate::daemon::confine::{confine_beside_command, confine_process};
use crate::daemon::context::{BuildInputs, DaemonContext};
use crate::daemon::exec::command::CommandSpec;
use crate::daemon::exec::run_with_command;
use crate::daemon::running::Daemon;
use crate::daemon::signals::Signals;
use crate::exit_reason::ExitReason;
use crate::platform::lifecycle::{Lifecycle, SignalsOnly};
use crate::tailscaled::process::socket_path::SocketPath;
use crate::tailscaled::process::state_dir::StateDir;

/// Runs the daemon to its end. `signals` were registered before anything else happened.
pub fn run(
    settings: &Settings,
    context: &DaemonContext<'_>,
    signals: Signals,
    lifecycle: &dyn Lifecycle,
) -> Result<(), ExitReason> {
    with_daemon(settings, context, lifecycle, confine_process, async |mut daemon| {
        let mut signals = signals.listen()?;
        let ended = daemon.serve(&mut signals, lifecycle).await;
        daemon.shut_down(ended.as_ref(), &mut signals, true).await;
        ended.map(drop)
    })
}

/// Runs the daemon and a command, both to their ends. Returns the exit code of the command.
pub fn exec(
    settings: &Settings,
    context: &DaemonContext<'_>,
    signals: Signals,
    spec: CommandSpec,
) -> Result<u8, ExitReason> {
    with_daemon(settings, context, &SignalsOnly, confine_beside_command, async |daemon| {
        run_with_command(daemon, spec, context.environment, signals).await
    })
}

/// Has `confine` confine this process, builds the daemon in an event loop of its own, and has `run` run it to its end there.
fn with_daemon<T>(
    settings: &Settings,
    context: &DaemonContext<'_>,
    lifecycle: &dyn Lifecycle,
    confine: fn(BuildInputs<'_>) -> Vec<&'static str>,
    run: impl AsyncFnOnce(Daemon) -> Result<T, ExitReason>,
) -> Result<T, ExitReason> {
    let temporary = context.environment.get("TMPDIR").map(String::as_str);
    // Made before the event loop, and so dropped after it: dropping the event loop kills tailscaled, and only then can
    // its directory be removed.
    let state_dir = StateDir::open(settings.state_dir.as_deref(), temporary)
        .map_err(|error| ExitReason::Configuration(error.to_string()))?;
    let socket = settings.tailscaled_socket.as_ref().map(|socket| socket.0.as_path());
    let socket = SocketPath::new(socket, &state_dir).map_err(|error| ExitReason::Configuration(error.to_string()))?;
    let start_gate = lifecycle.start_gate();
    let inputs = BuildInputs {
        settings,
        context,
        state_dir: &state_dir,
        socket: &socket,
        start_gate: &start_gate,
        confinement: &[],
    };
    let confinement = confine(inputs);
    let inputs = BuildInputs { confinement: &confinement, ..inputs };
    // One thread: tailscaled is the one that needs the cores, and the kernel ends it when this thread ends.
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ExitReason::Configuration(format!("the event loop cannot be set up: {error}")))?;
    let ended = event_loop.block_on(async {
        let (registered, built) = tokio::join!(lifecycle.register(), build_daemon(inputs));
        registered?;
        run(built?).await
    });
    // Tasks end here, but nobody waits for a look-up of a name in the pool of threads: where the name server is silent the
    // system's resolver takes 10 s and more, and cannot be told to stop.
    event_loop.shutdown_background();
    ended
}
