//! The stream of notices of the LocalAPI's `watch-ipn-bus`: one JSON object a line.

use std::collections::BTreeMap;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

/// Code of the warning that the node's key is not signed, in a tailnet with Tailnet Lock (`health.SysTKA`).
const LOCKED_OUT: &str = "tailnet-lock";

/// tailscaled's own state (`ipn.State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailscaledState {
    NoState,
    InUseOtherUser,
    NeedsLogin,
    NeedsMachineAuth,
    Stopped,
    Starting,
    Running,
    /// A state that only a newer tailscaled has.
    Unknown,
}

impl From<i64> for TailscaledState {
    fn from(number: i64) -> Self {
        match number {
            0 => Self::NoState,
            1 => Self::InUseOtherUser,
            2 => Self::NeedsLogin,
            3 => Self::NeedsMachineAuth,
            4 => Self::Stopped,
            5 => Self::Starting,
            6 => Self::Running,
            _ => Self::Unknown,
        }
    }
}

/// A notice of what has changed (`ipn.Notify`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Notice {
    state: Option<i64>,
    /// An error's text, of a refused key among others.
    pub err_message: Option<String>,
    #[serde(rename = "BrowseToURL")]
    browse_to_url: Option<String>,
    health: Option<Health>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    warnings: Option<BTreeMap<String, Warning>>,
}

/// Something that tailscaled finds wrong with itself or its surroundings.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Warning {
    text: String,
    impacts_connectivity: bool,
}

impl Notice {
    /// Returns the state that tailscaled has entered; `None` when the notice does not say.
    pub fn state(&self) -> Option<TailscaledState> {
        self.state.map(TailscaledState::from)
    }

    /// Returns the address at which a person is to log the node in, since the control server does not know the node and
    /// got no key.
    pub fn login_address(&self) -> Option<&str> {
        self.browse_to_url.as_deref().filter(|address| !address.is_empty())
    }

    /// Whether Tailnet Lock locks the node out; `None` when the notice says nothing of health.
    pub fn is_locked_out(&self) -> Option<bool> {
        let warnings = &self.health.as_ref()?.warnings;
        Some(warnings.as_ref().is_some_and(|warnings| warnings.contains_key(LOCKED_OUT)))
    }

    /// Returns the texts of what impairs connections now; `None` when the notice says nothing of health.
    pub fn impairments(&self) -> Option<String> {
        let warnings = self.health.as_ref()?.warnings.iter().flatten();
        let impairs = |(code, warning): &(&String, &Warning)| {
            // A failing login is no impairment to tailscaled, but the first that a user wants to know.
            warning.impacts_connectivity || *code == "login-state" && warning.text.contains("error")
        };
        let texts: Vec<&str> = warnings.filter(impairs).map(|(_, warning)| warning.text.trim()).collect();
        Some(texts.join("; "))
    }
}

/// An open stream of notices.
pub struct IpnBus {
    body: Incoming,
    pending: Vec<u8>,
}

impl IpnBus {
    /// Reads notices from the response's `body`.
    pub fn new(body: Incoming) -> Self {
        Self { body, pending: Vec::new() }
    }

    /// Returns the next notice; `None` when the stream has ended. Safe to drop and call again: no byte is lost.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(notice) => return Some(notice),
                    Err(error) => tracing::debug!(%error, "a notice of tailscaled is not understood"),
                }
                continue;
            }
            let frame = self.body.frame().await?.ok()?;
            if let Some(data) = frame.data_ref() {
                self.pending.extend_from_slice(data);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_tells_state_and_impairments() {
        let text = r#"{"Version":"1","State":6,"Health":{"Warnings":{
            "a":{"Text":"no DERP","ImpactsConnectivity":true},"b":{"Text":"update","ImpactsConnectivity":false},
            "login-state":{"Text":"You are logged out. The last login error was: x509"}}}}"#;
        let notice: Notice = serde_json::from_str(text).expect("parses");
        assert_eq!(notice.state(), Some(TailscaledState::Running));
        assert_eq!(
            notice.impairments().as_deref(),
            Some("no DERP; You are logged out. The last login error was: x509")
        );
        let empty: Notice = serde_json::from_str(r#"{"Health":{"Warnings":null}}"#).expect("parses");
        assert_eq!(empty.impairments().as_deref(), Some(""));
        assert!(empty.state().is_none());
    }

    #[test]
    fn a_notice_tells_whether_the_node_is_locked_out() {
        for (text, told) in [
            (r#"{"State":6}"#, None),
            (r#"{"Health":{"Warnings":null}}"#, Some(false)),
            (r#"{"Health":{"Warnings":{"no-tailnet-lock-state-dir":{"Text":"in memory"}}}}"#, Some(false)),
            (r#"{"Health":{"Warnings":{"tailnet-lock":{"Text":"this node is locked out"}}}}"#, Some(true)),
        ] {
            let notice: Notice = serde_json::from_str(text).expect(text);
            assert_eq!(notice.is_locked_out(), told, "{text}");
        }
    }
}
