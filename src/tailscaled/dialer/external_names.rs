//! Names that are none of the tailnet's own. Given such a name tailscaled looks it up and races all its addresses, some
//! of them past the tunnel: one could be 169.254.169.254, chosen by whoever owns the name. So it is given the address.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use simple_dns::Packet;
use simple_dns::rdata::RData;

use crate::tailscaled::dialer::Dialer;
use crate::tailscaled::dialer::stock::inside as located;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::target::dial::{DialError, DialOutcome, Host, Resolution, ResolvedAddress, Target};

/// A tailnet is renamed seldom.
const REMEMBERED: Duration = Duration::from_secs(60);
/// As many addresses of a name are looked at.
const ADDRESSES: usize = 16;

/// Knows the domain of the tailnet's own names. Clones share it.
#[derive(Clone, Default)]
pub struct ExternalNames(Arc<Mutex<Option<(Instant, String)>>>);

impl ExternalNames {
    /// Whether tailscaled knows `name` by itself, if it is one at all: one label, or within the tailnet's domain.
    pub async fn is_own(&self, name: &str, api: &LocalApi) -> Result<bool, DialError> {
        let name = name.trim_end_matches('.');
        if !name.contains('.') {
            return Ok(true);
        }
        Ok(is_within(name, &self.domain(api).await?))
    }

    pub async fn domain(&self, api: &LocalApi) -> Result<String, DialError> {
        if let Some(suffix) = self.remembered() {
            return Ok(suffix);
        }
        let suffix = api.status(false).await.map_err(unreachable)?.suffix.trim_matches('.').to_ascii_lowercase();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), suffix.clone()));
        Ok(suffix)
    }

    fn remembered(&self) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(when, _)| when.elapsed() < REMEMBERED).map(|(_, suffix)| suffix.clone())
    }
}

fn is_within(name: &str, suffix: &str) -> bool {
    let suffix = suffix.trim_matches('.');
    let Some(at) = name.len().checked_sub(suffix.len()).filter(|_| !suffix.is_empty()) else { return false };
    name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(suffix)) && name[..at].ends_with('.')
}

fn unreachable(error: LocalApiError) -> DialError {
    DialError::Tailscaled(error.to_string())
}

impl Dialer {
    /// Asks where tailscaled would go, and where that is the tailnet, for the addresses: an association for datagrams
    /// costs nothing, and tells.
    pub async fn locate_foreign(&self, name: &str, target: &Target) -> Result<Resolution, DialError> {
        if let DialOutcome::Direct(address) = self.dial_on("udp", target).await? {
            return Ok(Resolution::Addresses {
                name: None,
                addresses: vec![ResolvedAddress { address: address.ip(), inside: false }],
            });
        }
        let mut inside = Vec::new();
        // By an exit node everything leads into the tailnet, and nothing may be asked past it.
        if !self.goes_by_exit_node() {
            let resolved = tokio::net::lookup_host((name, target.port)).await;
            let resolved = resolved.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
            inside = self.inside(resolved, target.port).await?;
        }
        if inside.is_empty() {
            // The exit node's answer, or a record that the tailnet's administrator has added for a domain of others.
            inside = self.inside(self.records(name).await?, target.port).await?;
        }
        if inside.is_empty() {
            return Err(DialError::Host(format!(
                "{target} leads into the tailnet, but to no address that is known here"
            )));
        }
        Ok(Resolution::Addresses { name: None, addresses: located(inside) })
    }

    /// Those of `addresses` that tailscaled reaches through the tailnet.
    async fn inside(&self, addresses: Vec<IpAddr>, port: u16) -> Result<Vec<IpAddr>, DialError> {
        let mut inside = Vec::new();
        for address in addresses.into_iter().take(ADDRESSES) {
            let literal = Target { host: Host::Ip(address), port };
            match self.dial_on("udp", &literal).await {
                Ok(DialOutcome::Tailnet(..)) => inside.push(address),
                Err(error @ DialError::Tailscaled(_)) => return Err(error),
                Ok(DialOutcome::Direct(_)) | Err(_) => {}
            }
        }
        Ok(inside)
    }

    /// What tailscaled's own resolver says.
    async fn records(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let mut found = Vec::new();
        // Anything else has no place in the question's address.
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            for kind in ["A", "AAAA"] {
                found.extend(addresses_in(&self.api.query_dns(name, kind).await.map_err(unreachable)?));
            }
        }
        Ok(found)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    /// The message as it came, in base64.
    bytes: Option<String>,
}

impl LocalApi {
    /// A DNS message from tailscaled's own resolver; empty where it has no answer.
    async fn query_dns(&self, name: &str, kind: &str) -> Result<Vec<u8>, LocalApiError> {
        let path = format!("/localapi/v0/dns-query?name={name}&type={kind}");
        match self.ask(Method::GET, &path, Bytes::new()).await {
            Ok(body) => {
                let answer: Answer =
                    serde_json::from_slice(&body).map_err(|source| LocalApiError::Malformed { path, source })?;
                Ok(STANDARD.decode(answer.bytes.unwrap_or_default()).unwrap_or_default())
            }
            Err(LocalApiError::Refused { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn addresses_in(message: &[u8]) -> Vec<IpAddr> {
    let Ok(message) = Packet::parse(message) else { return Vec::new() };
    let addresses = message.answers.iter().filter_map(|record| match &record.rdata {
        RData::A(a) => Some(IpAddr::from(a.address.to_be_bytes())),
        RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.address.to_be_bytes())),
        _ => None,
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_those_within_the_tailnets_domain() {
        assert!(is_within("web.tail.test", "tail.test"));
        assert!(is_within("WEB.Tail.Test", "tail.test."));
        for (name, suffix) in [("eviltail.test", "tail.test"), ("tail.test.evil.com", "tail.test"), ("a.b", "")] {
            assert!(!is_within(name, suffix), "{name}");
        }
        assert!(!is_within("\u{e9}.tail", "x.tail"), "no panic within a character");
    }

    #[test]
    fn addresses_are_read_from_a_message() {
        let message = b"\0\0\x84\0\0\0\0\x01\0\0\0\0\x01x\0\0\x01\0\x01\0\0\x02X\0\x04\x64\x40\0\x05";
        assert_eq!(addresses_in(message), ["100.64.0.5".parse::<IpAddr>().expect("an address")]);
        assert!(addresses_in(b"junk").is_empty());
    }
}
