//! The parts of the LocalAPI's JSON documents that are used here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The capability of nodes in a tailnet with network flow logs (`tailcfg.CapabilityDataPlaneAuditLogs`).
const FLOW_LOGS: &str = "https://tailscale.com/cap/data-plane-audit-logs";

/// The argument that keeps tailscaled from uploading logs. It names it where the tailnet wants them.
pub const NO_LOGS: &str = "no-logs-no-support";

/// State of tailscaled and of the tailnet's nodes (`ipnstate.Status`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    pub version: String,
    /// `Running` once the node has joined.
    #[serde(default)]
    pub backend_state: String,
    #[serde(rename = "Self")]
    pub node: Option<Node>,
    pub peer: Option<BTreeMap<String, Node>>,
    /// The domain of the tailnet's own names; empty without MagicDNS.
    #[serde(rename = "MagicDNSSuffix", default)]
    pub suffix: String,
    /// The names that certificates can be had for.
    pub cert_domains: Option<Vec<String>>,
    /// What tailscaled finds wrong, as texts for a person.
    pub health: Option<Vec<String>>,
}

impl Status {
    /// Whether Tailnet Lock locks the node out (`healthmsg.LockedOut`).
    pub fn is_locked_out(&self) -> bool {
        self.health.iter().flatten().any(|text| text.starts_with("this node is locked out"))
    }

    /// Whether the tailnet has network flow logs on, and tailscaled is not to upload any, so that it stops. The text alone stays
    /// when flow logs are off again.
    pub fn wants_logs(&self) -> bool {
        let capabilities = self.node.as_ref().and_then(|node| node.capabilities.as_ref());
        capabilities.is_some_and(|capabilities| capabilities.contains_key(FLOW_LOGS))
            && self.health.iter().flatten().any(|text| text.contains(NO_LOGS))
    }
}

/// The response to `tka/status` (`ipnstate.TailnetLockStatus`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TailnetLockStatus {
    /// The node's own key in the tailnet, `nodekey:…`, which is to be signed.
    pub node_key: Option<String>,
    /// The node's key of Tailnet Lock, `nlpub:…`, by which it signs its next node key itself.
    pub public_key: String,
}

/// A node of the tailnet (`ipnstate.PeerStatus`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    #[serde(rename = "ID", default)]
    pub id: String,
    /// Whether the node offers to be an exit node, and is approved.
    #[serde(default)]
    pub exit_node_option: bool,
    #[serde(rename = "DNSName", default)]
    pub dns_name: String,
    #[serde(default)]
    pub host_name: String,
    #[serde(rename = "TailscaleIPs")]
    pub addresses: Option<Vec<IpAddr>>,
    /// The node's addresses, and the networks behind it, as prefixes.
    #[serde(rename = "AllowedIPs")]
    pub routes: Option<Vec<String>>,
    #[serde(default)]
    pub online: bool,
    pub key_expiry: Option<String>,
    /// What the control server lets the node do; of the own node alone.
    #[serde(rename = "CapMap")]
    pub capabilities: Option<BTreeMap<String, IgnoredAny>>,
    /// Where a provider's node is; other nodes have none.
    pub location: Option<NodeLocation>,
}

/// The place of a provider's exit node (`tailcfg.Location`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeLocation {
    pub country_code: String,
    pub city: String,
    pub city_code: String,
    /// Of several nodes at one place the one with the highest is to be used.
    pub priority: i64,
}

/// The response to `suggest-exit-node` (`apitype.ExitNodeSuggestionResponse`).
#[derive(Debug, Deserialize)]
pub struct ExitNodeSuggestion {
    #[serde(rename = "ID", default)]
    pub id: String,
}

/// Another node, as tailscaled sees it now (`tailcfg.Node`). [`Status`] is as old as the last whole network map: an
/// exit node that goes offline or is deleted stays online there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Peer {
    #[serde(rename = "StableID")]
    pub id: String,
    #[serde(default)]
    pub online: bool,
    #[serde(rename = "AllowedIPs", default)]
    routes: Vec<String>,
}

impl Peer {
    /// Whether the node offers to be an exit node, and is approved.
    pub fn is_exit_node(&self) -> bool {
        self.routes.iter().any(|route| route == "0.0.0.0/0")
    }
}

/// The response to `whois` (`apitype.WhoIsResponse`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WhoIs {
    pub node: Peer,
}

/// The response to `dns-query` (`apitype.DNSQueryResponse`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DnsQueryResponse {
    /// The DNS message as it came, in base64.
    pub bytes: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(capability: &str, health: &str) -> Status {
        let text = format!(
            r#"{{"Version":"1","BackendState":"Running","Health":[{health:?}],"Self":{{"CapMap":{{{capability:?}:null}}}}}}"#
        );
        serde_json::from_str(&text).expect("parses")
    }

    #[test]
    fn a_status_tells_what_keeps_the_node_out() {
        let (stops, locked) = (
            "The local log is misconfigured: tailnet requires logging to be enabled. Remove \
             --no-logs-no-support from tailscaled command line.",
            "this node is locked out; it will not have connectivity until it is signed. For more info, see …",
        );
        assert!(status(FLOW_LOGS, stops).wants_logs());
        assert!(!status("https://tailscale.com/cap/tailnet-lock", stops).wants_logs(), "off again");
        assert!(!status(FLOW_LOGS, "Some peers are advertising routes").wants_logs(), "they are uploaded");
        assert!(status("", locked).is_locked_out() && !status("", stops).is_locked_out());
        assert!(!status("", "Tailnet Lock state is only being stored in-memory").is_locked_out());
    }
}
