//! Kills TCP flows silently, as a NAT gateway does whose entry has expired.
//!
//! The packets of such flows vanish in both directions, while new flows of the same processes work.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Makes the packets of the connections vanish that `pid` has now to port `to`, in the calling thread's network
/// namespace. Returns how many connections these are. They stay dead.
pub fn black_hole(pid: i32, to: u16) -> Result<usize> {
    let ports = local_ports(pid, to)?;
    ensure!(!ports.is_empty(), "process {pid} has no connection to port {to}");
    let rules: String = ports
        .iter()
        .map(|port| {
            format!(
                "add rule inet dead output tcp sport {port} tcp dport {to} drop\n\
                 add rule inet dead output tcp sport {to} tcp dport {port} drop\n"
            )
        })
        .collect();
    let table =
        "add table inet dead\nadd chain inet dead output { type filter hook output priority 0; policy accept; }\n";
    nft(&format!("{table}{rules}"))?;
    Ok(ports.len())
}

fn local_ports(pid: i32, to: u16) -> Result<Vec<u16>> {
    let output = Command::new("ss")
        .args(["-Htnp", "state", "established", "dst"])
        .arg(format!(":{to}"))
        .output()
        .context("cannot run `ss`: install iproute2")?;
    let mine = format!("pid={pid},");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| line.contains(&mine));
    // Receive queue, send queue, local address, peer, process.
    let locals = lines.filter_map(|line| line.split_ascii_whitespace().nth(2)?.rsplit_once(':')?.1.parse().ok());
    Ok(locals.collect())
}

/// Runs a script of nft in the calling thread's network namespace.
pub fn nft(script: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `nft`: install nftables")?;
    // Taken, so that it closes and nft sees the end.
    nft.stdin.take().context("nft has no stdin")?.write_all(script.as_bytes())?;
    let output = nft.wait_with_output()?;
    if !output.status.success() {
        bail!("nft refused {script:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
