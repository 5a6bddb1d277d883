//! The parts of the LocalAPI's JSON documents that are used here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

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
