//! `tetherd check`: shows every setting, its value and where it came from.
//!
//! Secrets are masked. It says, too, which settings open a door, and what does not work with the tailscaled that was found.

use std::process::ExitCode;

use crate::cli::output::{complain, say};
use crate::cli::security::{Facts, warnings};
use crate::config::Config;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::tailscaled::calls::WITHOUT_CALLS;
use crate::tailscaled::process::locate;

/// Shows the settings. Returns the exit code of an invalid configuration where one of them is invalid.
pub fn run_check(config: &Config, environment: &Environment) -> ExitCode {
    let width = config.shown.iter().map(|shown| shown.key.len()).max().unwrap_or(0);
    for shown in &config.shown {
        let value = if shown.value.is_empty() { "-" } else { &shown.value };
        say(&format!("{:width$} = {value}  ({})", shown.key, shown.origin));
    }
    for warning in &config.warnings {
        complain(&format!("tetherd: warning: {warning}"));
    }
    match &config.settings {
        Ok(settings) => {
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
            ExitCode::SUCCESS
        }
        Err(faults) => {
            for fault in &faults.0 {
                complain(&format!("tetherd: {fault}"));
            }
            ExitCode::from(ExitReason::Configuration(String::new()).exit_code())
        }
    }
}
