//! The command line: reads it, loads the configuration and runs one command.
//!
//! The end of the command becomes an exit code and one last line.

pub(crate) mod args;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod configure;
pub(crate) mod end;
pub(crate) mod env;
pub(crate) mod exec_wrapper;
pub(crate) mod hash_password;
pub(crate) mod log_queue;
pub(crate) mod logging;
pub(crate) mod output;
pub(crate) mod query;
pub(crate) mod scrub_proc;
pub(crate) mod security;
pub(crate) mod start;
pub(crate) mod tailnets;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::args::{Arguments, Command};
use crate::cli::configure::Configured;
use crate::cli::end::end_with;
use crate::cli::env::without_password_for_programs;
use crate::cli::output::say;
use crate::cli::security::run_check_security;
use crate::cli::tailnets::Scope;
use crate::config::Config;
use crate::config::types::enums::OnFailure;
use crate::daemon;
use crate::daemon::context::DaemonContext;
use crate::daemon::exec::command::CommandSpec;
use crate::daemon::signals::Signals;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::memory::budget::{Daemons, MemoryBudget, ONE_DAEMON, Sharing};
use crate::memory::cgroup::CgroupMemory;
use crate::platform;
use crate::process::child::{SoftLimits, current_umask};
use crate::process::oom_score::OomScore;
use crate::tailscaled::process::locate;

/// Runs the whole program: reads arguments and settings, runs one command, and returns its exit code.
pub fn main() -> ExitCode {
    let inherited: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let text = |bytes: &OsString| bytes.to_string_lossy().into_owned();
    let mut environment: Environment = inherited.iter().map(|(name, value)| (text(name), text(value))).collect();
    let mut words = std::env::args_os().skip(1);
    if let Some(program) = words.next().filter(|first| exec_wrapper::is_program_path(first)) {
        return exec_wrapper::become_program(&program, words, &environment);
    }
    let given: Vec<OsString> = std::env::args_os().collect();
    scrub_proc::scrub(&given.iter().map(text).collect::<Vec<_>>(), &environment);
    let arguments = match args::parse(given) {
        Ok(arguments) => arguments,
        Err(end) => return end,
    };
    // It needs no settings, however faulty they are.
    if arguments.command == Command::HashPassword {
        return hash_password::run_hash_password();
    }
    let supervision = match start::take_over(&arguments, &mut environment) {
        Ok(supervision) => supervision,
        Err(fatal) => return end_with(platform::detect(&environment), None, Err(fatal)),
    };
    let environment = environment;
    let oom_score = OomScore::open(matches!(arguments.command, Command::Exec(_)));
    // Signals are caught before anything is read that may take long, such as a key on a network mount.
    let signals = match arguments.command {
        Command::Run if arguments.supervised.is_some() => Signals::to_stop_or_lose_supervisor(),
        Command::Run => Signals::to_stop(),
        Command::Exec(_) => Signals::to_pass_on(),
        // Commands that only ask the daemon are ended by the signal's default action.
        _ => Signals::none(),
    };
    let mut sources = start::sources(&arguments, &environment, supervision.as_ref());
    let scope = match tailnets::choose(&mut sources, &arguments.command, supervision.is_some()) {
        Ok(scope) => scope,
        Err(fatal) => return end_with(platform::detect(&environment), None, Err(fatal)),
    };
    let together = match scope {
        Scope::All => sources.tailnets().len() as u64,
        Scope::One => supervision.as_ref().map_or(1, |supervision| supervision.handover.tailnets),
    };
    let memory = memory(&arguments.command, Daemons::new(together).unwrap_or(ONE_DAEMON));
    if scope == Scope::All {
        let of_process = (memory.as_ref(), signals);
        return start::all_tailnets(&arguments.command, sources, &environment, inherited, of_process);
    }
    let share = memory.as_ref().and_then(MemoryBudget::share);
    let configured = Configured { supervision, ..configure::read(&sources, &environment, share) };
    let Configured { platform, ref config, .. } = configured;
    let context = DaemonContext {
        platform,
        environment: &environment,
        memory,
        oom_score,
        on_log_thread: logging::run_on_thread,
        tailnet: configured.tailnet_name(),
        supervised: configured.supervision.as_ref().map(|supervision| &supervision.supervised),
    };
    match &arguments.command {
        Command::HashPassword => hash_password::run_hash_password(),
        Command::Version => version(config, &environment),
        Command::Check { security: false } => check::run_check(config, &environment),
        Command::Check { security: true } => run_check_security(config, &environment),
        Command::Run => run(&configured, &context, signals),
        Command::Exec(words) => exec(&configured, &context, inherited, words, signals),
        Command::Env(form) => {
            let result =
                configured.settings().and_then(|settings| env::run_env(settings, platform, &environment, *form));
            end(&configured, result.map(|()| 0))
        }
        Command::Wait(_) | Command::Healthcheck | Command::Status { .. } => query_daemon(&arguments, &configured),
    }
}

/// Finds the memory limit, and whether an application shares it. `None` without a limit, and for commands that do not
/// need it. `daemons` is the number of those that have it together.
fn memory(command: &Command, daemons: Daemons) -> Option<MemoryBudget> {
    let with_application = match command {
        Command::Exec(_) => true,
        Command::Run | Command::Check { .. } => false,
        Command::Wait(_) | Command::Healthcheck | Command::Status { .. } => return None,
        Command::Env(_) | Command::Version | Command::HashPassword => return None,
    };
    let cgroups = CgroupMemory::of_this_process()?;
    let shares = with_application || cgroups.shares_the_limit();
    Some(MemoryBudget { cgroups, sharing: if shares { Sharing::WithApplication } else { Sharing::Alone }, daemons })
}

/// Runs the daemon.
fn run(configured: &Configured, context: &DaemonContext<'_>, signals: Result<Signals, ExitReason>) -> ExitCode {
    let program = std::env::args().next().unwrap_or_default();
    let Configured { platform, config, .. } = configured;
    let outlasts_failure = config.lambda_on_failure == OnFailure::Continue;
    let lifecycle = platform.lifecycle(context.environment, &program, outlasts_failure);
    let result = signals.and_then(|signals| {
        let settings = start::prepared(configured, context.environment)?;
        daemon::run(settings, context, signals, &*lifecycle)
    });
    let failure = result.as_ref().err().cloned();
    let code = end(configured, result.map(|()| 0));
    if let Some(fatal) = failure {
        // An event loop that cannot be made is no further error: the failure itself is logged already.
        let _ = client::block_on(async {
            lifecycle.failed(&fatal).await;
            Ok(())
        });
    }
    code
}

/// Runs the daemon and a command; `words` are the command's program and arguments.
fn exec(
    configured: &Configured,
    context: &DaemonContext<'_>,
    inherited: Vec<(OsString, OsString)>,
    words: &[OsString],
    signals: Result<Signals, ExitReason>,
) -> ExitCode {
    let result = signals.and_then(|signals| {
        let unreadable =
            |error| ExitReason::Configuration(format!("the limits of this process cannot be read: {error}"));
        let limits = SoftLimits::now().map_err(unreadable)?;
        let settings = start::prepared(configured, context.environment)?;
        if let Some(warning) = without_password_for_programs(settings) {
            tracing::warn!("{warning}");
        }
        let (program, arguments) = words
            .split_first()
            .ok_or_else(|| ExitReason::Usage("exec needs a command: tetherd exec -- COMMAND".into()))?;
        let job = CommandSpec {
            program: program.clone(),
            arguments: arguments.to_vec(),
            environment: inherited,
            direct: context.platform.direct_hosts(context.environment),
            limits,
            umask: current_umask(),
        };
        daemon::exec(settings, context, signals, job)
    });
    end(configured, result)
}

/// Runs a command that asks the running daemon: `wait`, `healthcheck` or `status`. It needs the health port and no
/// other setting: a key file that is gone by now does not make the daemon unhealthy.
fn query_daemon(arguments: &Arguments, configured: &Configured) -> ExitCode {
    let Some(address) = configured.config.health_listen else {
        return configured.settings().map_or_else(|fatal| end(configured, Err(fatal)), |_| ExitCode::FAILURE);
    };
    let prefix = configured.tailnet_name().map_or_else(String::new, |name| format!("/tailnet/{name}"));
    let health = query::Health { address, prefix };
    match arguments.command {
        Command::Wait(timeout) => query::wait(&health, timeout),
        Command::Status { json } => query::status(&health, json),
        _ => query::healthcheck(&health),
    }
}

/// Shows the versions of tetherd and of the tailscaled that it would run.
fn version(config: &Config, environment: &Environment) -> ExitCode {
    say(&format!("tetherd {}", env!("CARGO_PKG_VERSION")));
    let configured = config.settings.as_ref().ok().and_then(|settings| settings.tailscaled_path.as_deref());
    match locate::find_tailscaled(configured, environment.get("PATH").map(String::as_str)) {
        Ok(path) => {
            let version = locate::version(&path).unwrap_or_else(|| "of unknown version".into());
            let lacks = if locate::has_calls(&path) == Some(false) { ", without tetherd's calls" } else { "" };
            say(&format!("tailscaled {version} ({}){lacks}", path.display()));
        }
        Err(missing) => say(&missing.to_string()),
    }
    ExitCode::SUCCESS
}

/// Turns the end into an exit code, as [`end_with`] does, and tells a supervisor the reason of a failure.
fn end(configured: &Configured, result: Result<u8, ExitReason>) -> ExitCode {
    if let (Some(supervision), Err(fatal)) = (&configured.supervision, &result) {
        supervision.report(&fatal.to_string());
    }
    let settings = configured.config.settings.as_ref().ok();
    end_with(configured.platform, settings.map(|settings| settings.log_format), result)
}
