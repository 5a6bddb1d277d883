//! Arguments, with one flag for each setting of the table.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command as Clap};

use super::output::{complain, say};
use crate::config::Flags;
use crate::config::key::{KEYS, Key};
use crate::config::value::Value;
use crate::fatal::Fatal;
use crate::secret::mask_keys;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Run,
    Wait(Duration),
    Healthcheck,
    Status { json: bool },
    Check,
    Version,
}

/// The command line, read.
#[derive(Debug)]
pub(super) struct Arguments {
    pub command: Command,
    /// The file given by `--config`.
    pub config: Option<String>,
    pub flags: Flags,
}

/// Reads the command line. `Err` when the program is to end now: help was asked for, or the usage is wrong.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, ExitCode> {
    match definition().try_get_matches_from(arguments) {
        Ok(matches) => Ok(read(&matches)),
        Err(error) => {
            // A key given in the wrong place is quoted back.
            let text = mask_keys(error.render().to_string().trim_end());
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                say(&text);
                return Err(ExitCode::SUCCESS);
            }
            let reason = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            complain(&text);
            complain(&format!("tetherd: wrong usage: {reason}; `tetherd --help` lists commands and settings"));
            Err(ExitCode::from(Fatal::Usage(reason).exit_code()))
        }
    }
}

fn definition() -> Clap {
    let timeout = Arg::new("timeout")
        .long("timeout")
        .value_name("DURATION")
        .default_value("30s")
        .value_parser(|text: &str| Duration::parse(text).ok_or_else(|| format!("expected {}", Duration::EXPECTED)))
        .help("how long to wait");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("the whole document as JSON");
    Clap::new("tetherd")
        .about("Gives any container a tailnet without privileges.")
        .after_help(
            "Every setting is also a variable (TETHERD_SOCKS_LISTEN) and a key in the file (socks_listen). Later wins: \
             default, runtime, file, TS_*, TETHERD_*, command line.",
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
        .args(KEYS.iter().map(flag))
        .subcommand(Clap::new("run").about("the daemon, in the foreground; also without a command"))
        .subcommand(
            Clap::new("wait").about("block until the running daemon is ready; 0 ready, 1 not in time").arg(timeout),
        )
        .subcommand(Clap::new("healthcheck").about("ask the running daemon once; 0 ready, 1 not"))
        .subcommand(Clap::new("status").about("show state, node, peers, connections and last error").arg(json))
        .subcommand(Clap::new("check").about("show every setting with its origin; 78 when one is invalid"))
}

fn flag(key: &'static Key) -> Arg {
    let default = key.default.map_or_else(String::new, |default| format!(" [{default}]"));
    Arg::new(key.name)
        .long(key.flag())
        .value_name(key.value)
        .global(true)
        .allow_hyphen_values(true)
        .hide_default_value(true)
        .help(format!("{}{default}", key.help))
}

fn read(matches: &ArgMatches) -> Arguments {
    let (command, inner) = match matches.subcommand() {
        _ if matches.get_flag("version") => (Command::Version, matches),
        Some(("wait", inner)) => (Command::Wait(inner.get_one("timeout").copied().unwrap_or_default()), inner),
        Some(("healthcheck", inner)) => (Command::Healthcheck, inner),
        Some(("status", inner)) => (Command::Status { json: inner.get_flag("json") }, inner),
        Some(("check", inner)) => (Command::Check, inner),
        Some((_, inner)) => (Command::Run, inner),
        None => (Command::Run, matches),
    };
    let value = |name| inner.get_one::<String>(name).cloned();
    let flags = KEYS.iter().filter_map(|key| Some((key.name, value(key.name)?))).collect();
    Arguments { command, config: value("config"), flags }
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
}
