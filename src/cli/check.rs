//! `tetherd check`: shows every setting, its value and where it came from.
//!
//! Secrets are masked. It says, too, which settings open a door, and what does not work with the tailscaled that was found.

use std::process::ExitCode;

use crate::cli::output::{complain, say};
use crate::cli::security::{Facts, warnings};
use crate::cli::tailnets::AllConfigured;
use crate::config::Config;
use crate::config::error::ConfigError;
use crate::config::reader::Shown;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::tailscaled::calls::WITHOUT_CALLS;
use crate::tailscaled::process::locate;

/// Shows the settings. Returns the exit code of an invalid configuration where one of them is invalid.
pub fn run_check(config: &Config, environment: &Environment) -> ExitCode {
    show(config, environment);
    match &config.settings {
        Ok(_) => ExitCode::SUCCESS,
        Err(faults) => refuse(&faults.0),
    }
}

/// Shows the settings of several tailnets: those of the process that keeps their daemons, and of each.
pub fn run_check_all(all: &AllConfigured, environment: &Environment) -> ExitCode {
    show_values(&all.top.shown);
    for (name, configured) in &all.tailnets {
        say(&format!("\n[tailnet.{name}]"));
        show(&configured.config, environment);
    }
    if all.faults.is_empty() { ExitCode::SUCCESS } else { refuse(&all.faults) }
}

/// Says what is wrong. Returns the exit code of an invalid configuration.
fn refuse(faults: &[ConfigError]) -> ExitCode {
    for fault in faults {
        complain(&format!("tetherd: {fault}"));
    }
    ExitCode::from(ExitReason::Configuration(String::new()).exit_code())
}

fn show_values(shown: &[Shown]) {
    let width = shown.iter().map(|shown| shown.key.len()).max().unwrap_or(0);
    for shown in shown {
        let value = if shown.value.is_empty() { "-" } else { &shown.value };
        say(&format!("{:width$} = {value}  ({})", shown.key, shown.origin));
    }
}

/// Shows one daemon's settings, and what is to be said of them.
fn show(config: &Config, environment: &Environment) {
    show_values(&config.shown);
    for warning in &config.warnings {
        complain(&format!("tetherd: warning: {warning}"));
    }
    if let Ok(settings) = &config.settings {
        for warning in warnings(&Facts::new(settings, &config.shown, environment)) {
            complain(&format!("tetherd: warning: {warning}"));
        }
        for listen in settings.socks_listen.iter().filter(|listen| !settings.is_private(listen)) {
            let denied = settings.local_targets.denying(true).join(" and ");
            if !denied.is_empty() {
                say(&format!(
                    "clients of {listen} reach no {denied} targets outside the tailnet, unless allow names the address"
                ));
            }
        }
        let search = environment.get("PATH").map(String::as_str);
        let tailscaled = locate::find_tailscaled(settings.tailscaled_path.as_deref(), search).ok();
        if tailscaled.as_deref().and_then(locate::has_calls) == Some(false) {
            complain(&format!("tetherd: {}", WITHOUT_CALLS));
        }
    }
}
