//! Makes the environment variables of tailscaled.
//!
//! They are the daemon's own, without those that bear a secret, with what userspace mode needs.

use std::path::{Path, PathBuf};

use crate::auth_keys::https::ca_certificates::{DIRECTORIES, system_directories_add};
use crate::environment::{Environment, set_variable};
use crate::process::inherited::bears_secret;
use crate::secret::redactor::Redactor;

/// Value of `GOGC`. Garbage is collected twice as often as usual: lower peaks at the same throughput,
/// docs/performance.md has the numbers.
const GOGC: &str = "50";

/// `SSL_CERT_DIR` where no directory is to be read: Go takes one that does not exist.
const NO_DIRECTORY: &str = "/nonexistent";

/// Builds tailscaled's environment from the daemon's `own`. `logs` is a directory for tailscaled's log buffers;
/// `ca_directories` hold additional CA certificates; `memory_limit` bounds tailscaled's memory, in bytes.
pub fn for_tailscaled(
    own: &Environment,
    logs: &Path,
    ca_directories: &[PathBuf],
    memory_limit: Option<u64>,
    redactor: &Redactor,
) -> Environment {
    let mut environment = own.clone();
    environment.retain(|name, value| !bears_secret(name, value, redactor));
    // The port mapper waits 0.5 s for a gateway's answer that a container never gets.
    environment.entry("TS_DISABLE_PORTMAPPER".into()).or_insert_with(|| "1".into());
    // Otherwise tailscaled writes to /var/lib/tailscale, wherever its state is.
    environment.entry("TS_LOGS_DIR".into()).or_insert_with(|| logs.display().to_string());
    if let Some(all) = cert_dir(own, ca_directories, system_directories_add()) {
        environment.insert("SSL_CERT_DIR".into(), all);
    }
    if let Some(limit) = memory_limit {
        limit_memory(&mut environment, limit);
    }
    environment
}

/// Returns Go's `SSL_CERT_DIR` for tailscaled; `None` for what the environment has. `systems_add` tells whether the system's own
/// directories have more than its bundle.
fn cert_dir(own: &Environment, ca_directories: &[PathBuf], systems_add: bool) -> Option<String> {
    let named = |name: &str| set_variable(own, name);
    // SSL_CERT_DIR adds to the system's bundle; SSL_CERT_FILE would replace it.
    let reads_systems = systems_add || named("SSL_CERT_FILE").is_some();
    let mut all: Vec<String> = match named("SSL_CERT_DIR") {
        Some(own) => vec![own.to_owned()],
        None if reads_systems => DIRECTORIES.map(str::to_owned).to_vec(),
        None => Vec::new(),
    };
    all.extend(ca_directories.iter().map(|more| more.display().to_string()));
    // Without the variable Go reads the system's.
    let needs_none = ca_directories.is_empty() && (reads_systems || named("SSL_CERT_DIR").is_some());
    if all.is_empty() {
        all.push(NO_DIRECTORY.to_owned());
    }
    (!needs_none).then(|| all.join(":"))
}

/// Has tailscaled refuse peers that want to reach these ports of loopback, of TCP and of UDP. From its start on: a message after it would
/// come too late for the first of them. Heeded by a tailscaled with the calls (`parts/tailscaled/calls/peers.go`).
pub fn close_to_peers(environment: &mut Environment, ports: &[Vec<u16>; 2]) {
    let variables = ["TETHERD_PORTS_CLOSED_TO_PEERS", "TETHERD_UDP_PORTS_CLOSED_TO_PEERS"];
    for (variable, ports) in variables.into_iter().zip(ports) {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        environment.insert(variable.into(), ports.join(","));
    }
}

/// Bounds Go's heap to `limit` bytes. A limit that is in the environment is meant for an application, in Lambda and
/// with `exec`: a heap of that size would get the container killed.
fn limit_memory(environment: &mut Environment, limit: u64) {
    for (name, value) in [("GOMEMLIMIT", limit.to_string()), ("GOGC", GOGC.to_owned())] {
        if let Some(other) = environment.insert(name.into(), value.clone()).filter(|other| *other != value) {
            tracing::info!("{name}={other:?} is taken for an application's; tailscaled keeps to memory_limit");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;
    use crate::secret::Secret;

    #[test]
    fn secrets_stay_behind_and_knobs_pass() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::new("0123456789abcdef"));
        let own = environment(&[
            ("TETHERD_AUTH_KEY", "x"),
            ("TS_AUTHKEY", "file:/run/key"),
            ("TETHERD_SOCKS_PASSWORD", "x"),
            ("TS_EXTRA_ARGS", "--authkey=x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("COPY_OF_THE_KEY", "prefix 0123456789abcdef"),
            ("TS_DEBUG_MTU", "1200"),
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("SSL_CERT_FILE", "/ca.pem"),
        ]);
        let names: Vec<String> = for_tailscaled(&own, Path::new("/logs"), &[], None, &redactor).into_keys().collect();
        assert_eq!(names, ["HTTPS_PROXY", "SSL_CERT_FILE", "TS_DEBUG_MTU", "TS_DISABLE_PORTMAPPER", "TS_LOGS_DIR"]);
    }

    #[test]
    fn more_roots_add_to_those_there_are() {
        let systems = "/etc/ssl/certs:/etc/pki/tls/certs:/b:/c";
        let own: &[&[(&str, &str)]] =
            &[&[("SSL_CERT_DIR", "/a")], &[("SSL_CERT_DIR", "")], &[], &[("SSL_CERT_FILE", "/f")]];
        let more = ["/b".into(), "/c".into()];
        for (systems_add, expected) in
            [(true, ["/a:/b:/c", systems, systems, systems]), (false, ["/a:/b:/c", "/b:/c", "/b:/c", systems])]
        {
            let found = own.iter().map(|own| cert_dir(&environment(own), &more, systems_add));
            assert_eq!(found.collect::<Vec<_>>(), expected.map(|all| Some(all.to_owned())), "{systems_add}");
        }
    }

    #[test]
    fn directories_that_add_nothing_to_the_bundle_are_not_read() {
        for (own, systems_add, expected) in [
            (&[][..], false, Some(NO_DIRECTORY)),
            (&[], true, None),
            (&[("SSL_CERT_DIR", "/a")], false, None),
            (&[("SSL_CERT_FILE", "/f")], false, None),
        ] {
            assert_eq!(cert_dir(&environment(own), &[], systems_add).as_deref(), expected, "{own:?} {systems_add}");
        }
    }

    #[test]
    fn the_closed_ports_are_those_of_this_daemon() {
        let mut own = environment(&[("TETHERD_PORTS_CLOSED_TO_PEERS", "1")]);
        close_to_peers(&mut own, &[vec![1055, 9002], vec![53]]);
        assert_eq!(own.get("TETHERD_PORTS_CLOSED_TO_PEERS").map(String::as_str), Some("1055,9002"));
        assert_eq!(own.get("TETHERD_UDP_PORTS_CLOSED_TO_PEERS").map(String::as_str), Some("53"));
    }

    #[test]
    fn a_memory_limit_counts_more_than_an_applications() {
        let own = environment(&[("GOMEMLIMIT", "4GiB"), ("GOGC", "off")]);
        let told = |limit| {
            let environment = for_tailscaled(&own, Path::new("/logs"), &[], limit, &Redactor::default());
            ["GOMEMLIMIT", "GOGC"].map(|name| environment.get(name).cloned().unwrap_or_default())
        };
        assert_eq!(told(Some(100 << 20)), ["104857600", "50"]);
        assert_eq!(told(None), ["4GiB", "off"], "where nothing bounds memory");
    }
}
