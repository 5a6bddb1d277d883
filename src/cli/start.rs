//! Starts what stays: takes settings over, logs, keeps secrets from core dumps.

use std::ffi::OsString;
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cli::args::{Arguments, Command};
use crate::cli::check::run_check_all;
use crate::cli::configure::Configured;
use crate::cli::end::end_with;
use crate::cli::security::{Facts, run_check_security_of_all, warnings};
use crate::cli::tailnets::{AllConfigured, read_all};
use crate::cli::{logging, scrub_proc};
use crate::config::Sources;
use crate::config::config_file::ConfigFile;
use crate::config::layers::Flags;
use crate::config::settings::Settings;
use crate::config::table;
use crate::config::types::enums::{LogFormat, LogLevel};
use crate::daemon::signals::Signals;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::memory::budget::MemoryBudget;
use crate::process::child::keep_descriptors_from_children;
use crate::supervisor;
use crate::supervisor::handover::Supervision;

/// Takes what a supervisor hands over, and adds its variables to `environment`. `None` for a process without a supervisor.
pub fn take_over(arguments: &Arguments, environment: &mut Environment) -> Result<Option<Supervision>, ExitReason> {
    let Some(descriptor) = arguments.supervised else { return Ok(None) };
    let supervision = Supervision::receive(descriptor)
        .map_err(|error| ExitReason::Configuration(format!("no settings came from the supervisor: {error}")))?;
    environment.extend(supervision.handover.variables.iter().cloned());
    scrub_proc::keep_copies(environment);
    Ok(Some(supervision))
}

/// Returns the sources of settings: those of the supervisor, if there is one, else file and command line.
pub fn sources<'a>(
    arguments: &Arguments,
    environment: &'a Environment,
    supervision: Option<&Supervision>,
) -> Sources<'a> {
    let Some(Supervision { handover, .. }) = supervision else {
        return Sources::read(environment, arguments.config.as_deref(), &arguments.flags);
    };
    let (origin, text) = handover.file.clone();
    let given = handover.flags.iter().filter_map(|(name, value)| Some((table::find_key(name)?.name, value.clone())));
    let flags: Flags = given.chain(arguments.flags.iter().cloned()).collect();
    let mut sources = Sources::new(environment, Some(ConfigFile { origin, text: Ok(text) }), &flags);
    sources.keep(handover.kept.clone());
    sources
}

/// Runs a command that is about all tailnets: `run` or `check`.
pub fn all_tailnets(
    command: &Command,
    mut sources: Sources<'_>,
    environment: &Environment,
    inherited: Vec<(OsString, OsString)>,
    (memory, signals): (Option<&MemoryBudget>, Result<Signals, ExitReason>),
) -> ExitCode {
    let all = read_all(&mut sources, environment, memory);
    match command {
        Command::Check { security: false } => run_check_all(&all, environment),
        Command::Check { security: true } => run_check_security_of_all(&all, environment),
        _ => {
            let result = signals.and_then(|signals| supervise(&all, &sources, inherited, signals));
            end_with(all.platform, Some(all.supervisor.log_format), result.map(|()| 0))
        }
    }
}

fn supervise(
    all: &AllConfigured,
    sources: &Sources<'_>,
    inherited: Vec<(OsString, OsString)>,
    signals: Signals,
) -> Result<(), ExitReason> {
    all.checked()?;
    // The daemons keep them from what they start; until then a file of a secret may be among them.
    log_and_harden(all.supervisor.log_level, all.supervisor.log_format, None);
    supervisor::run(all.plan(sources, inherited), signals)
}

/// Keeps descriptors from children, starts logging and keeps secrets from core dumps. Returns the settings, or what is wrong with them.
pub fn prepared<'a>(configured: &'a Configured, environment: &Environment) -> Result<&'a Settings, ExitReason> {
    let config = &configured.config;
    let settings = configured.settings()?;
    let kept = keep_descriptors_from_children();
    log_and_harden(settings.log_level, settings.log_format, configured.tailnet_name());
    if let Err(error) = kept {
        tracing::warn!(%error, "files that tetherd was started with are open in the programs that it starts");
    }
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    warnings(&Facts::new(settings, &config.shown, environment)).iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(settings)
}

fn log_and_harden(level: LogLevel, format: LogFormat, tailnet: Option<&str>) {
    logging::start(level, format, tailnet);
    harden();
}

/// Limit of the size of core dumps, in bytes. A limit of 0 does not keep the kernel from piping a core dump to a
/// program; 1 does (core(5)).
const NO_CORE: u64 = 1;

/// Keeps secrets in memory from core dumps, tailscaled's too, and from other processes of the same user.
fn harden() {
    let no_core = getrlimit(Resource::RLIMIT_CORE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_CORE, NO_CORE.min(hard), hard));
    if let Err(error) = no_core.and_then(|()| nix::sys::prctl::set_dumpable(false)) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}
