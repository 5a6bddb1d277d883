//! The status document: `/status`, the web page and `tetherd status` show it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::state::State;

/// A node of the tailnet, as the status shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// MagicDNS name without the dot at its end; the host name where the tailnet has no MagicDNS.
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub online: bool,
    /// When the node's key expires, in RFC 3339; absent when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_expiry: Option<String>,
}

/// Counts of connections through the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Number that is open now.
    pub open: u64,
    /// Number accepted since the start.
    pub accepted: u64,
    /// Number of connections, and of requests of HTTP clients, that did not reach their target.
    pub failed: u64,
    /// Bytes from clients to targets.
    pub sent_bytes: u64,
    /// Bytes from targets to clients.
    pub received_bytes: u64,
}

/// What confines each process, such as `landlock`; empty where nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfinementStatus {
    pub tetherd: Vec<String>,
    pub tailscaled: Vec<String>,
}

/// Facts in addition to the daemon's phase, read anew for each document.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// tailscaled's version; absent while it does not answer.
    pub tailscaled: Option<String>,
    /// What does not work with this tailscaled; absent where everything does.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limitation: Option<String>,
    #[serde(default)]
    pub confinement: ConfinementStatus,
    pub node: Option<NodeStatus>,
    pub peers: Vec<NodeStatus>,
    pub connections: Connections,
    /// Number of starts of tailscaled after the first.
    pub restarts: u64,
}

/// The status document.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    pub version: String,
    pub ready: bool,
    pub state: String,
    pub reason: String,
    /// When the phase began, in RFC 3339.
    pub since: String,
    /// Milliseconds from the daemon's start to the first time it was ready.
    pub time_to_ready_ms: Option<u64>,
    pub last_error: Option<String>,
    #[serde(flatten)]
    pub snapshot: Snapshot,
}

impl Document {
    /// Builds the document of a daemon in this state.
    pub fn new(state: &State, snapshot: Snapshot) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: state.is_ready(),
            state: format!("{:?}", state.phase),
            reason: state.reason.clone(),
            since: humantime::format_rfc3339_seconds(state.since).to_string(),
            time_to_ready_ms: state.time_to_ready.and_then(|time| time.as_millis().try_into().ok()),
            last_error: state.last_error.clone(),
            snapshot,
        }
    }

    /// Lists label and text of each line that a person reads.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let seen = &self.snapshot;
        let node = seen.node.as_ref().map_or_else(|| "unknown yet".to_owned(), describe);
        let online = seen.peers.iter().filter(|peer| peer.online).count();
        let counts = &seen.connections;
        let mut lines = vec![
            ("state", format!("{} since {}: {}", self.state, self.since, self.reason)),
            ("node", node),
            ("peers", format!("{online} online of {}", seen.peers.len())),
            ("connections", format!("{} open, {} accepted, {} failed", counts.open, counts.accepted, counts.failed)),
            ("bytes", format!("{} sent, {} received", counts.sent_bytes, counts.received_bytes)),
            ("last error", self.last_error.clone().unwrap_or_else(|| "none".into())),
            ("restarts", seen.restarts.to_string()),
        ];
        if let Some(time) = self.time_to_ready_ms {
            lines.push(("first ready after", format!("{time} ms")));
        }
        if let Some(limitation) = &seen.limitation {
            lines.push(("limitation", limitation.clone()));
        }
        let named = |measures: &[String]| if measures.is_empty() { "none".to_owned() } else { measures.join(", ") };
        lines.push(("tetherd confined by", named(&seen.confinement.tetherd)));
        lines.push(("tailscaled confined by", named(&seen.confinement.tailscaled)));
        let tailscaled = seen.tailscaled.as_deref().unwrap_or("does not answer");
        lines.push(("version", format!("tetherd {}, tailscaled {tailscaled}", self.version)));
        lines
    }
}

fn describe(node: &NodeStatus) -> String {
    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
    let expiry = node.key_expiry.as_ref().map_or_else(String::new, |expiry| format!(", key expires {expiry}"));
    format!("{} ({}){expiry}", node.name, addresses.join(", "))
}
