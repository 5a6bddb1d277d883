//! What an expired entry of a NAT does to a process that slept: packets of the flows it had vanish, new flows work.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Where the control server's and DERP's flows go, the one over IPv4 and the other over IPv6.
const CONTROL: &str = ":8443";

/// Lets nodes of this namespace reach each other through DERP alone: of UDP only DNS and STUN are left.
pub fn relay_only() -> Result<()> {
    nft("add table inet testbed
         add chain inet testbed out { type filter hook output priority 0; }
         add rule inet testbed out udp dport != { 53, 3478 } udp sport != { 53, 3478 } drop\n")
}

/// Drops, from now on, every packet to the control server, of flows old and new.
pub fn swallow_control() -> Result<()> {
    nft("add table inet expired
         add chain inet expired out { type filter hook output priority 0; }
         add rule inet expired out tcp dport 8443 drop\n")
}

/// Drops, from now on, every packet of the flows that the process `pid` has to the control server. Returns how many.
pub fn swallow_flows_of(pid: i32) -> Result<usize> {
    let output = Command::new("ss").args(["-tnpH", "dport", "=", CONTROL]).output().context("cannot run `ss`")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let owned = text.lines().filter(|line| line.contains(&format!("pid={pid},")));
    let ports: Vec<&str> =
        owned.filter_map(|line| line.split_whitespace().nth(3)?.rsplit_once(':')).map(|it| it.1).collect();
    ensure!(!ports.is_empty(), "process {pid} has no flow to port {CONTROL}:\n{text}");
    let set = ports.join(", ");
    nft(&format!(
        "add table inet expired
         add chain inet expired out {{ type filter hook output priority 0; }}
         add rule inet expired out tcp sport {{ {set} }} drop
         add rule inet expired out tcp dport {{ {set} }} drop\n"
    ))?;
    Ok(ports.len())
}

fn nft(rules: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run `nft`: apt-get install nftables")?;
    nft.stdin.take().context("nft has no stdin")?.write_all(rules.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft refused:\n{rules}");
    Ok(())
}
