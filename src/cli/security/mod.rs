//! `tetherd check --security`: says what the settings leave open.
//!
//! Each line says what, to whom, and what to do. A start and `tetherd check` warn by the same table.

mod facts;
mod open_doors;
mod open_files;
mod open_secrets;
mod open_targets;
mod table;

use std::fmt;
use std::process::ExitCode;

pub use crate::cli::security::facts::Facts;

use crate::cli::output::{complain, say};
use crate::cli::security::table::{Row, Said, TABLE};
use crate::cli::tailnets::AllConfigured;
use crate::config::Config;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;

/// Something that is open.
#[derive(Debug)]
pub struct Opening {
    about: &'static str,
    open: String,
    to: &'static str,
    fix: &'static str,
}

impl fmt::Display for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. Open to: {}. To do: {}", self.about, self.open, self.to, self.fix)
    }
}

/// Returns what is open that each start warns of.
pub fn warnings(facts: &Facts<'_>) -> Vec<Opening> {
    openings(facts, |row| row.said == Said::Always)
}

fn openings(facts: &Facts<'_>, counts: fn(&Row) -> bool) -> Vec<Opening> {
    let found = TABLE.iter().filter(|row| counts(row)).flat_map(|row| {
        let open = (row.find)(facts).into_iter();
        open.map(|open| Opening { about: row.about, open, to: row.to, fix: row.fix })
    });
    found.collect()
}

/// Says all that is open, a line each. Returns 0 where nothing is, 1 where something is, and the exit code of an invalid
/// configuration where a setting is invalid.
pub fn run_check_security(config: &Config, environment: &Environment) -> ExitCode {
    let settings = match &config.settings {
        Ok(settings) => settings,
        Err(faults) => {
            faults.0.iter().for_each(|fault| complain(&format!("tetherd: {fault}")));
            return ExitCode::from(ExitReason::Configuration(String::new()).exit_code());
        }
    };
    let found = openings(&Facts::new(settings, &config.shown, environment), |_| true);
    found.iter().for_each(|opening| say(&opening.to_string()));
    if found.is_empty() {
        say("nothing is open that settings could close");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}

/// Says what is open in several tailnets, each by its name, as [`run_check_security`] does for one.
pub fn run_check_security_of_all(all: &AllConfigured, environment: &Environment) -> ExitCode {
    if !all.faults.is_empty() {
        all.faults.iter().for_each(|fault| complain(&format!("tetherd: {fault}")));
        return ExitCode::from(ExitReason::Configuration(String::new()).exit_code());
    }
    let mut worst = ExitCode::SUCCESS;
    for (name, configured) in &all.tailnets {
        say(&format!("[tailnet.{name}]"));
        let code = run_check_security(&configured.config, environment);
        if code != ExitCode::SUCCESS {
            worst = code;
        }
    }
    let open = all.supervisor.health_listen.iter().filter(|address| !address.ip().to_canonical().is_loopback());
    for address in open {
        say(&format!("health_listen: {address} tells phase, reason and metrics of all tailnets"));
        worst = ExitCode::FAILURE;
    }
    worst
}

#[cfg(test)]
mod tests;
