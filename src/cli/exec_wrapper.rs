//! `tetherd /path/to/program ARG…`: runs the program with proxy variables set.
//!
//! Lambda's `AWS_LAMBDA_EXEC_WRAPPER` calls it, which takes a path and no arguments. The program replaces this process. Lambda knows one
//! wrapper alone: `TETHERD_EXEC_WRAPPER_NEXT` names another one, which then starts the program.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html#runtime-wrapper>

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::cli::configure;
use crate::cli::env::configured_proxy_variables;
use crate::cli::output::complain;
use crate::config::layers::NEXT_WRAPPER;
use crate::daemon::exec::java_options::{JAVA_TOOL_OPTIONS, is_java, java_tool_options};
use crate::daemon::exec::proxy_variables::without_those_set;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;

/// Whether `first`, the first argument, is a program's path: no command of the daemon begins with a slash.
pub fn is_program_path(first: &OsStr) -> bool {
    Path::new(first).is_absolute()
}

/// Replaces this process by the program. Returns only when that cannot be started, with the exit code that env(1) has
/// for it. A proxy that is not known does not keep the program from starting: the extension
/// says what is wrong with the configuration, and decides whether the function starts.
pub fn become_program(
    program: &OsStr,
    arguments: impl Iterator<Item = OsString>,
    environment: &Environment,
) -> ExitCode {
    let configured = configure::load(environment, None, &Vec::new(), None);
    let next = environment.get(NEXT_WRAPPER).map(|next| next.trim()).filter(|next| !next.is_empty());
    let (first, rest) = next.map_or((program, None), |next| (OsStr::new(next), Some(program)));
    let mut command = Command::new(first);
    // Without it: a wrapper that calls tetherd would be called by it, and so on.
    command.args(rest).args(arguments).env_remove(NEXT_WRAPPER);
    let settings = configured.config.settings.as_ref().map_err(|faults| ExitReason::Configuration(faults.to_string()));
    match settings.and_then(|settings| configured_proxy_variables(settings, configured.platform, environment)) {
        Ok(variables) => {
            if is_java(Path::new(program), environment) {
                command.envs(java_tool_options(&variables, environment).map(|options| (JAVA_TOOL_OPTIONS, options)));
            }
            command.envs(without_those_set(variables, environment));
        }
        Err(error) => complain(&format!("tetherd: no proxy variables are set: {error}")),
    }
    let error = command.exec();
    let named_by = next.map_or("", |_| " (from TETHERD_EXEC_WRAPPER_NEXT)");
    complain(&format!("tetherd: {}{named_by} cannot be started: {error}", first.display()));
    let fatal = match error.kind() {
        std::io::ErrorKind::NotFound => ExitReason::CommandNotFound(String::new()),
        _ => ExitReason::CommandNotExecutable(String::new()),
    };
    ExitCode::from(fatal.exit_code())
}
