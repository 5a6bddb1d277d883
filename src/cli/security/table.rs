//! The table of what `check --security` looks for.
//!
//! A new row is a function of `open_doors`, `open_targets`, `open_files` or `open_secrets`, and a case in the tests.

use crate::cli::security::facts::Facts;
use crate::cli::security::{open_doors, open_files, open_secrets, open_targets};

/// When a row counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// At each start, and by each `check`: hardly anybody wants this.
    Always,
    /// By `check --security`: there may be reasons for it.
    Asked,
}

/// One way to leave something open.
pub struct Row {
    /// The setting, or other thing, that it is about.
    pub about: &'static str,
    pub said: Said,
    /// To whom it is open.
    pub to: &'static str,
    /// What to do about it.
    pub fix: &'static str,
    /// Returns what is open, each as a sentence's beginning; nothing where it is not.
    pub find: fn(&Facts<'_>) -> Vec<String>,
}

const fn row(about: &'static str, find: fn(&Facts<'_>) -> Vec<String>, [to, fix]: [&'static str; 2]) -> Row {
    Row { about, said: Said::Asked, to, fix, find }
}

const fn always(row: Row) -> Row {
    Row { said: Said::Always, ..row }
}

/// Everything that is looked for.
pub const TABLE: [Row; 23] = [
    always(row(
        "socks_listen",
        open_doors::in_the_clear,
        ["whoever is on the way", "set socks_tls_cert and socks_tls_key, or listen on 127.0.0.1 or a unix socket"],
    )),
    always(row(
        "socks_password",
        open_doors::short_password,
        ["whoever can connect, and guesses", "make a random one, as by `head -c 18 /dev/urandom | base64`"],
    )),
    row(
        "allow_open_proxy",
        open_doors::without_password,
        [
            "whoever can connect",
            "set socks_user and socks_password, ask for certificates by socks_client_ca, or listen on 127.0.0.1",
        ],
    ),
    row("forwards", open_doors::forwards, ["whoever can connect", "listen on 127.0.0.1 or a unix socket"]),
    row("dns_listen", open_doors::dns, ["whoever can connect", "listen on 127.0.0.1"]),
    row(
        "health_listen",
        open_doors::health,
        [
            "whoever can connect",
            "listen on 127.0.0.1, or let nobody but probes and Prometheus in by a firewall or a NetworkPolicy",
        ],
    ),
    row(
        "shields_up",
        open_doors::shields,
        [
            "nodes that the tailnet's rules let in",
            "set shields_up = true where the node offers nothing; else narrow the tailnet's rules for this node",
        ],
    ),
    row("control_url", open_doors::control, ["whoever is on the way, who can be the control server", "use https://"]),
    row("log_upload", open_doors::log_upload, ["Tailscale", "set log_upload = false"]),
    row(
        "direct",
        open_targets::direct,
        ["whoever may use the proxy", "set direct = deny, or name in allow what may be reached"],
    ),
    row("loopback", open_targets::loopback, ["whoever may use the proxy", "leave loopback = auto, or set it to deny"]),
    row(
        "private",
        open_targets::private,
        ["whoever may use the proxy", "leave private = auto, or name addresses in allow"],
    ),
    row(
        "allow",
        open_targets::allowed_wide,
        ["whoever may use the proxy", "name hosts, or smaller networks, with their ports"],
    ),
    row(
        "allow",
        open_targets::allowed_private,
        ["whoever may use the proxy", "name single addresses with their ports, such as 10.0.0.7:5432"],
    ),
    row(
        "allow",
        open_targets::allowed_reserved,
        [
            "whoever may use the proxy, who gets the credentials that are there",
            "leave the rule out: programs reach metadata without the proxy",
        ],
    ),
    row(
        "deny",
        open_targets::denied_by_half,
        ["whoever may use the proxy, at the other address", "name both addresses of a node, or its name beside them"],
    ),
    row(
        "confine",
        open_files::unconfined,
        [
            "whoever takes tailscaled or tetherd over",
            "leave out confine = false, tailscaled_args, a script around tailscaled, and credential_process",
        ],
    ),
    row(
        "user",
        open_files::root,
        ["whoever takes tailscaled or tetherd over", "run as another user: tetherd needs no privilege"],
    ),
    row(
        "state_dir",
        open_files::state_dir,
        [
            "whoever may write there, who can take the node's identity away",
            "give it to this user alone: chmod 700, in a directory that others may not write to",
        ],
    ),
    row(
        "tailscaled_socket",
        open_files::socket,
        [
            "whoever may write there, who can take the socket's place",
            "choose a directory that this user alone may write to",
        ],
    ),
    row(
        "secrets",
        open_secrets::in_the_environment,
        [
            "whoever may inspect the container, its deployment or its logs",
            "give it as a file, by the setting that ends with _file or by file:/path",
        ],
    ),
    row(
        "secrets",
        open_secrets::on_the_command_line,
        [
            "every user of the machine, until tetherd masks it, and whoever may see how it is started",
            "give it as a file, by the setting that ends with _file or by file:/path",
        ],
    ),
    row(
        "auth_key",
        open_secrets::long_lived_key,
        [
            "whoever reads it, until it expires: after up to 90 days",
            "have tetherd make keys of minutes by an OAuth client or workload identity (docs/keys.md); else a key that is used once",
        ],
    ),
];
