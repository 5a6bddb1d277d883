//! `tetherd check`: every setting with its value and where it came from, secrets masked.

use std::process::ExitCode;

use super::output::{complain, say};
use crate::config::Config;
use crate::fatal::Fatal;

pub(super) fn run(config: &Config) -> ExitCode {
    let width = config.shown.iter().map(|shown| shown.key.len()).max().unwrap_or(0);
    for shown in &config.shown {
        let value = if shown.value.is_empty() { "-" } else { &shown.value };
        say(&format!("{:width$} = {value}  ({})", shown.key, shown.origin));
    }
    match &config.settings {
        Ok(_) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in &faults.0 {
                complain(&format!("tetherd: {fault}"));
            }
            ExitCode::from(Fatal::Configuration(String::new()).exit_code())
        }
    }
}
