//! Dials and names with a tailscaled that a user brings, which has none of our calls: by LocalAPI's `dial` and by the list of
//! all nodes.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::net::unix_stream::LocalStream;
use crate::tailscaled::dialer::tailnet_ipv6::{leads_to, needs_a_node};
use crate::tailscaled::dialer::{Dialer, unreachable};
use crate::tailscaled::local_api::dial::Answer;
use crate::tailscaled::local_api::{Node, dial};
use crate::target::dial::{DialError, DialOutcome, Host, Resolution, ResolvedAddress, Tailnet, Target};

impl Dialer {
    pub async fn locate_without_calls(&self, target: &Target, by_address: bool) -> Result<Resolution, DialError> {
        let Host::Name(name) = &target.host else { return Ok(Resolution::Name) };
        if !self.names.is_own(name, &self.api).await? {
            return self.locate_foreign(name, target).await;
        }
        if !by_address {
            return Ok(Resolution::Name);
        }
        let node = self.nodes().await?.into_iter().find(|node| is_named(node, name));
        let addresses = node.and_then(|node| node.addresses);
        Ok(addresses
            .map_or(Resolution::Name, |addresses| Resolution::Addresses { name: None, addresses: inside(addresses) }))
    }

    async fn nodes(&self) -> Result<Vec<Node>, DialError> {
        let status = self.api.status(true).await.map_err(|error| DialError::Tailscaled(error.to_string()))?;
        Ok(status.node.into_iter().chain(status.peer.unwrap_or_default().into_values()).collect())
    }

    async fn must_be_known(&self, address: IpAddr) -> Result<(), DialError> {
        if !needs_a_node(address) || self.nodes().await?.iter().any(|node| leads_to(node, address)) {
            return Ok(());
        }
        Err(DialError::Network(format!("no node has {address}")))
    }

    /// By LocalAPI's `dial`, which a tailscaled without our calls has.
    pub async fn dial_on(&self, network: &str, target: &Target) -> Result<DialOutcome, DialError> {
        if matches!(&target.host, Host::Name(name) if name.is_empty()) {
            return Err(DialError::Host("the name is empty".into()));
        }
        if let Host::Ip(address) = target.host {
            self.must_be_known(address).await?;
        }
        let request = dial::request(network, target)
            .ok_or_else(|| DialError::Host(format!("{:?} is not a host name", target.host.to_string())))?;
        let (connection, answer) = self.exchange(&request).await.map_err(unreachable)?;
        match answer {
            Answer::Stream(early) => {
                self.ahead.open_more();
                Ok(DialOutcome::Tailnet(Tailnet::Stream(connection, early)))
            }
            Answer::Other { status, dial_address, text } => {
                self.ahead.put_back(connection);
                match status {
                    200 => {
                        let address = outside_address(dial_address)?;
                        let permitted = self.exit.permit(DialOutcome::Direct(address))?;
                        if target.host == Host::Ip(address.ip()) {
                            self.outside.learn(address.ip(), ());
                        }
                        Ok(permitted)
                    }
                    _ => Err(classify(&text)),
                }
            }
        }
    }

    /// A connection that was opened ahead may be that of a tailscaled which has ended: a new one tells.
    async fn exchange(&self, request: &str) -> io::Result<(LocalStream, Answer)> {
        if let Some(mut connection) = self.ahead.take() {
            match dial::exchange(&mut connection, request).await {
                Ok(answer) => return Ok((connection, answer)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                Err(_) => self.ahead.forget(),
            }
        }
        let mut connection = self.ahead.connect().await?;
        let answer = dial::exchange(&mut connection, request).await?;
        Ok((connection, answer))
    }
}

/// Addresses that a node leads to.
pub fn inside(addresses: Vec<IpAddr>) -> Vec<ResolvedAddress> {
    addresses.into_iter().map(|address| ResolvedAddress { address, inside: true }).collect()
}

/// Whether `node` is the one that MagicDNS knows by `name`, short or whole.
fn is_named(node: &Node, name: &str) -> bool {
    let (own, name) = (node.dns_name.trim_end_matches('.'), name.trim_end_matches('.'));
    let short = own.split('.').next().unwrap_or_default();
    !own.is_empty() && (own.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name))
}

fn outside_address(address: Option<String>) -> Result<SocketAddr, DialError> {
    let address = address.and_then(|address| address.parse::<SocketAddr>().ok());
    address.ok_or_else(|| DialError::Other("tailscaled named no address to dial".into()))
}

/// What tailscaled's error text means. The texts are those of Go's `net` package and of gVisor's network stack.
fn classify(text: &str) -> DialError {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if text.starts_with("resolve failure") {
        // Also when the name server was silent: it is the name that is not known.
        DialError::Host(text.to_owned())
    } else if says(&["connection refused", "connection was refused"]) {
        DialError::Refused
    } else if says(&["i/o timeout", "deadline exceeded", "timed out", "context canceled"]) {
        DialError::TimedOut(text.to_owned())
    } else if says(&["no such host", "no route to host", "host is unreachable", "host is down"]) {
        DialError::Host(text.to_owned())
    } else if says(&["network is unreachable", "network unreachable"]) {
        DialError::Network(text.to_owned())
    } else {
        DialError::Other(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_its_whole_or_its_short_name() {
        let node = |name: &str| serde_json::from_value(serde_json::json!({ "DNSName": name })).expect("a node");
        assert!(is_named(&node("web.tail.test."), "WEB"));
        assert!(is_named(&node("web.tail.test."), "web.tail.test."));
        assert!(!is_named(&node("web.tail.test."), "web.tail"));
        assert!(!is_named(&node(""), ""));
    }

    #[test]
    fn tailscaleds_texts_are_told_apart() {
        assert_eq!(classify("dial failure: connect tcp 100.64.0.2:81: connection was refused"), DialError::Refused);
        for (text, is) in [
            ("dial failure: context deadline exceeded", "timed out"),
            ("dial failure: connect tcp 100.64.0.2:81: operation timed out", "timed out"),
            ("resolve failure: lookup nope on 127.0.0.1:53: no such host", "host"),
            ("resolve failure: lookup nope on 127.0.0.1:53: i/o timeout", "host"),
            ("dial failure: connect tcp 100.64.0.2:81: no route to host", "host"),
            ("dial failure: connect tcp [fd7a::2]:81: network is unreachable", "network"),
        ] {
            assert!(classify(text).to_string().starts_with(is), "{text}");
        }
    }
}
