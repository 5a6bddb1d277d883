//! Reads the command line, with one flag for each setting of the table.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command as Clap, value_parser};

use crate::cli::env::EnvForm;
use crate::cli::output::{complain, say};
use crate::config::layers::Flags;
use crate::config::runtime::choices;
use crate::config::table::{KEYS, Key, PLATFORMS};
use crate::config::types::Value;
use crate::exit_reason::ExitReason;
use crate::platform;
use crate::secret::redactor::mask_secrets;
use crate::supervisor::daemon_process::SUPERVISED;

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Run,
    /// Runs the daemon and a command, given with its arguments.
    Exec(Vec<OsString>),
    Wait(Duration),
    Healthcheck,
    Status {
        json: bool,
    },
    Env(EnvForm),
    Check {
        /// Whether to say what the settings leave open, and nothing else.
        security: bool,
    },
    HashPassword,
    Version,
}

/// The command line that was read.
#[derive(Debug)]
pub struct Arguments {
    pub command: Command,
    /// Path given by `--config`.
    pub config: Option<String>,
    pub flags: Flags,
    /// Number of the descriptor that a supervisor hands the settings over by.
    pub supervised: Option<i32>,
}

/// Reads the command line. `Err` when the program is to end now: help was asked for, or the usage is wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, ExitCode> {
    match definition().try_get_matches_from(arguments) {
        Ok(matches) => Ok(read(&matches)),
        Err(error) => {
            // clap's errors quote arguments, one of which may be an auth key in the wrong place.
            let text = mask_secrets(error.render().to_string().trim_end());
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                say(&text);
                return Err(ExitCode::SUCCESS);
            }
            let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            complain(&text);
            complain(&format!("tetherd: wrong usage: {reason}; `tetherd --help` lists commands and settings"));
            Err(ExitCode::from(ExitReason::Usage(reason).exit_code()))
        }
    }
}

fn definition() -> Clap {
    Clap::new("tetherd")
        .about("Gives any container a tailnet without privileges.")
        .after_help(
            "Every setting is also a variable (TETHERD_SOCKS_LISTEN) and a key in the file (socks_listen). Later wins: \
             default, runtime, file, TS_*, TETHERD_*, table [tailnet.NAME] of the file, command line. Where the file has \
             such tables, --tailnet NAME names the one that a command is about.",
        )
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .action(ArgAction::SetTrue)
                .help("versions of tetherd and tailscaled"),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("PATH")
                .global(true)
                .help("file of settings (TOML); also TETHERD_CONFIG"),
        )
        .arg(
            Arg::new(SUPERVISED).long(SUPERVISED).global(true).hide(true).value_parser(value_parser!(i32).range(3..)),
        )
        .args(KEYS.iter().map(setting_flag))
        .subcommands(commands())
}

fn commands() -> [Clap; 8] {
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("DURATION")
        .default_value("30s")
        .value_parser(|text: &str| Duration::parse(text).ok_or_else(|| format!("expected {}", Duration::EXPECTED)))
        .help("how long to wait");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("the whole document as JSON");
    [
        Clap::new("run").about("the daemon, in the foreground; also without a command"),
        exec_command(),
        Clap::new("wait").about("block until the running daemon is ready; 0 ready, 1 not in time").arg(timeout),
        Clap::new("healthcheck").about("ask the running daemon once; 0 ready, 1 not"),
        Clap::new("status").about("show state, node, peers, connections and last error").arg(json),
        env_command(),
        check_command(),
        hash_password_command(),
    ]
}

fn exec_command() -> Clap {
    let words = Arg::new("words")
        .value_name("COMMAND")
        .value_parser(value_parser!(OsString))
        .num_args(1..)
        .required(true)
        .last(true)
        .help("the command and its arguments, after --");
    Clap::new("exec")
        .about("the daemon and a command together; ends with the command's exit code")
        .after_help(
            "Waits until the daemon is ready, then runs the command with the proxy variables of `tetherd env` set, \
             except for those that are set already; NO_PROXY is merged. Variables that bear secrets are kept from it. \
             Signals are passed on to it, and the daemon serves until it has ended. Exit codes: the command's, 128+n \
             when signal n killed it, 127 when it was not found, 126 when it cannot be run; else as `tetherd run`.",
        )
        .arg(words)
}

fn check_command() -> Clap {
    let security = Arg::new("security")
        .long("security")
        .action(ArgAction::SetTrue)
        .help("what the settings leave open, to whom, and what to do; 0 nothing, 1 something");
    Clap::new("check").about("show every setting with its origin; 78 when one is invalid").arg(security)
}

fn hash_password_command() -> Clap {
    Clap::new("hash-password").about("read a password and print its hash for the file of users").after_help(
        "Reads the password from stdin, or asks for it twice at a terminal. Prints its bcrypt hash, as `htpasswd -nB` \
         writes it, to stand as `password` in the file that `users` names.",
    )
}

fn env_command() -> Clap {
    let shell = Arg::new("shell")
        .long("shell")
        .value_name("FORM")
        .value_parser(EnvForm::NAMES)
        .default_value(EnvForm::NAMES[0])
        .help("lines for a shell to evaluate, NAME=value lines, or one object");
    Clap::new("env")
        .about("print the proxy variables for a program; they hold the password when one is set")
        .after_help(
            "Prints ALL_PROXY, HTTP_PROXY, HTTPS_PROXY and NO_PROXY in upper and lower case. The password of the \
             proxy is in them when one is set, since programs need it there: do not let the output into a log. \
             In a shell: eval \"$(tetherd env)\"",
        )
        .arg(shell)
}

/// Makes the flag of a setting.
fn setting_flag(key: &'static Key) -> Arg {
    let default = key.default.map_or_else(String::new, |default| format!(" [{default}]"));
    let help = key.help.replace(PLATFORMS, &choices(&platform::names()));
    Arg::new(key.name)
        .long(key.flag())
        .value_name(key.value)
        .global(true)
        .allow_hyphen_values(true)
        .hide_default_value(true)
        .help(format!("{help}{default}"))
}

fn read(matches: &ArgMatches) -> Arguments {
    let (command, inner) = match matches.subcommand() {
        _ if matches.get_flag("version") => (Command::Version, matches),
        Some(("wait", inner)) => (Command::Wait(inner.get_one("timeout").copied().unwrap_or_default()), inner),
        Some(("healthcheck", inner)) => (Command::Healthcheck, inner),
        Some(("status", inner)) => (Command::Status { json: inner.get_flag("json") }, inner),
        Some(("exec", inner)) => (Command::Exec(words(inner)), inner),
        Some(("env", inner)) => (Command::Env(form(inner)), inner),
        Some(("check", inner)) => (Command::Check { security: inner.get_flag("security") }, inner),
        Some(("hash-password", inner)) => (Command::HashPassword, inner),
        Some((_, inner)) => (Command::Run, inner),
        None => (Command::Run, matches),
    };
    let value = |name| inner.get_one::<String>(name).cloned();
    let flags = KEYS.iter().filter_map(|key| Some((key.name, value(key.name)?))).collect();
    Arguments { command, config: value("config"), flags, supervised: inner.get_one(SUPERVISED).copied() }
}

fn words(exec: &ArgMatches) -> Vec<OsString> {
    exec.get_many("words").into_iter().flatten().cloned().collect()
}

fn form(env: &ArgMatches) -> EnvForm {
    env.get_one::<String>("shell").and_then(|name| EnvForm::named(name)).unwrap_or(EnvForm::Sh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Arguments {
        parse(line.split(' ').map(OsString::from)).expect("is right")
    }

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn settings_count_before_and_after_the_command() {
        assert_eq!(parsed("tetherd --hostname a run").flags, [("hostname", "a".to_owned())]);
        assert_eq!(parsed("tetherd check --hostname a").flags, [("hostname", "a".to_owned())]);
        assert_eq!(parsed("tetherd").command, Command::Run);
        assert_eq!(parsed("tetherd wait --timeout 5s").command, Command::Wait(Duration::from_secs(5)));
    }

    #[test]
    fn what_follows_the_dashes_belongs_to_the_command() {
        let arguments = parsed("tetherd exec --hostname a -- env --hostname b -- c");
        assert_eq!(arguments.flags, [("hostname", "a".to_owned())]);
        let words = ["env", "--hostname", "b", "--", "c"].map(OsString::from).to_vec();
        assert_eq!(arguments.command, Command::Exec(words));
        assert_eq!(parsed("tetherd env --shell json").command, Command::Env(EnvForm::Json));
        assert_eq!(parsed("tetherd env").command, Command::Env(EnvForm::Sh));
    }
}
