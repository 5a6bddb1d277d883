//! A real name server, dnsmasq, that knows only what it is told.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::process::Process;

/// Starts one at `address`, with `options` for its records and zones. It asks no other name server.
pub fn start(address: &str, options: impl IntoIterator<Item = String>) -> Result<Process> {
    let mut command = Command::new("/usr/sbin/dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]);
    command.args(["--pid-file=", "--user=root", "--log-facility=/dev/null"]);
    command.arg(format!("--listen-address={address}")).args(options).stdin(Stdio::null()).stdout(Stdio::null());
    Process::spawn(&mut command)
}
