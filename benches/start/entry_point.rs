//! Measures the shell entry point that Tailscale's guides show and images copy.
//!
//! It is `tailscaled &`, then `tailscale up`, which waits for the socket by itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::{Tailnet, parts};

use crate::KEY;

/// Not told to leave out the port mapper or the log upload: hardly anyone does. After the measured line it stays until
/// its stdin ends, which it does even when the benchmark is killed.
const SCRIPT: &str = r#"
tailscaled --tun=userspace-networking --socks5-server=localhost:1055 --state="$DIR/state" --socket="$DIR/sock" 2>>"$DIR/log" &
tailscale --socket="$DIR/sock" up --auth-key="$TS_AUTHKEY" --login-server="$SERVER" --hostname="$NAME" \
    --timeout=30s >>"$DIR/log" 2>&1 && echo joined || echo failed
read -r _
kill -9 $!
wait
"#;

/// From exec of the shell until `tailscale up` has returned 0.
pub fn join(tailnet: &Tailnet, hostname: &str) -> Result<Duration> {
    let mut command = Command::new("/bin/sh");
    let directory = tempfile::Builder::new().prefix("tetherd-bench-").tempdir()?;
    command
        .args(["-c", SCRIPT])
        .env_clear()
        .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", parts::directory()?.display()))
        .env("HOME", directory.path())
        .env("DIR", directory.path())
        // Otherwise it writes to /var/lib/tailscale, whatever its state file.
        .env("TS_LOGS_DIR", directory.path())
        .env("SSL_CERT_FILE", tailnet.ca_file())
        .env("SERVER", tailnet.control_url())
        .env("NAME", hostname)
        .env("TS_AUTHKEY", tailnet.auth_key(KEY)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let start = Instant::now();
    let mut shell = Shell(command.spawn()?);
    let joined = first_line(&mut shell)?;
    let time = start.elapsed();
    drop(shell);
    ensure!(joined == "joined\n", "`tailscale up` failed; it and tailscaled wrote:\n{}", log(directory.path()));
    tailnet.delete_node(hostname)?;
    Ok(time)
}

fn first_line(shell: &mut Shell) -> Result<String> {
    let mut line = String::new();
    if let Some(stdout) = &mut shell.0.stdout {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    Ok(line)
}

/// Dropped, it ends with all it started.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        // Closes its stdin first, which is what the script waits for.
        let _ = self.0.wait();
    }
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}
