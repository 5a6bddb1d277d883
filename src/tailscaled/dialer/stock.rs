//! Dials by LocalAPI's `dial`, through a stock tailscaled without tetherd's calls.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::net::unix_stream::LocalStream;
use crate::tailscaled::dialer::direct_cache::DirectCache;
use crate::tailscaled::dialer::tailnet_ipv6::{leads_to, needs_a_node};
use crate::tailscaled::local_api::dial;
use crate::tailscaled::local_api::dial::DialResponse;
use crate::tailscaled::local_api::pool::ConnectionPool;
use crate::tailscaled::local_api::types::Node;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::target::dial::{DialError, DialOutcome, Tailnet};
use crate::target::host::{Host, Target};

/// Dials by LocalAPI. Cheap to clone.
#[derive(Clone)]
pub struct StockDialer {
    api: LocalApi,
    pool: ConnectionPool,
    pub direct: DirectCache,
}

impl StockDialer {
    /// Dials through the tailscaled of `api`; what is dialled directly goes into `direct`.
    pub fn new(api: LocalApi, direct: DirectCache) -> Self {
        Self { pool: ConnectionPool::new(api.socket().clone()), api, direct }
    }

    /// Lists this node and all others of the tailnet.
    ///
    /// # Errors
    /// [`DialError::Tailscaled`] when tailscaled does not answer.
    pub async fn nodes(&self) -> Result<Vec<Node>, DialError> {
        let status = self.api.status(true).await.map_err(no_answer)?;
        Ok(status.node.into_iter().chain(status.peer.unwrap_or_default().into_values()).collect())
    }

    /// Looks the addresses of `name` up with tailscaled's own resolver; none for a text that cannot be a host name.
    ///
    /// # Errors
    /// [`DialError::Tailscaled`] when tailscaled does not answer.
    pub async fn dns_records(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let mut found = Vec::new();
        // No other character may stand in the path of the request.
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            for kind in ["A", "AAAA"] {
                found.extend(self.api.query_dns(name, kind).await.map_err(no_answer)?);
            }
        }
        Ok(found)
    }

    /// Dials `target` over `network`, `tcp` or `udp`.
    ///
    /// # Errors
    /// Why tailscaled did not dial, by its own text; [`DialError::Network`] for an IPv6 address that no node has.
    pub async fn dial(&self, network: &str, target: &Target) -> Result<DialOutcome, DialError> {
        if let Host::Ip(address) = target.host {
            self.require_node(address).await?;
        }
        let outcome = self.request(&dial::request_text(network, &target.host, target.port)).await?;
        if let DialOutcome::Direct(address) = outcome
            && target.host == Host::Ip(address.ip())
        {
            self.direct.insert(address.ip());
        }
        Ok(outcome)
    }

    /// Returns where a dial of `name` would go, without making a connection: over UDP it costs nothing. A dot at the end of the
    /// name keeps tailscaled from searching.
    ///
    /// # Errors
    /// Why tailscaled does not know the name, by its own text.
    pub async fn plan(&self, name: &str, port: u16) -> Result<DialOutcome, DialError> {
        self.request(&dial::request_text("udp", name, port)).await
    }

    async fn request(&self, request: &str) -> Result<DialOutcome, DialError> {
        let (connection, response) =
            self.exchange(request).await.map_err(|error| DialError::Tailscaled(format!("connection: {error}")))?;
        match response {
            DialResponse::Stream(early) => {
                self.pool.open_more();
                Ok(DialOutcome::Tailnet(Tailnet::Stream(connection, early)))
            }
            DialResponse::Document { status, dial_address, text } => {
                self.pool.put_back(connection);
                if status == 200 { self.dial_directly(dial_address) } else { Err(classify(&text)) }
            }
        }
    }

    fn dial_directly(&self, address: Option<String>) -> Result<DialOutcome, DialError> {
        let address = address.and_then(|address| address.parse::<SocketAddr>().ok());
        let address = address.ok_or_else(|| DialError::Other("tailscaled named no address to dial".into()))?;
        self.direct.permit(address)
    }

    async fn require_node(&self, address: IpAddr) -> Result<(), DialError> {
        if !needs_a_node(address) || self.nodes().await?.iter().any(|node| leads_to(node, address)) {
            return Ok(());
        }
        Err(DialError::Network(format!("no node has {address}")))
    }

    /// Sends `request` over a connection that was opened ahead. If that is a connection to a tailscaled which has
    /// ended, the request is sent over a new one.
    async fn exchange(&self, request: &str) -> io::Result<(LocalStream, DialResponse)> {
        if let Some(mut connection) = self.pool.take() {
            match dial::exchange(&mut connection, request).await {
                Ok(response) => return Ok((connection, response)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                Err(_) => self.pool.clear(),
            }
        }
        let mut connection = self.pool.connect().await?;
        let response = dial::exchange(&mut connection, request).await?;
        Ok((connection, response))
    }
}

fn no_answer(error: LocalApiError) -> DialError {
    DialError::Tailscaled(error.to_string())
}

/// Returns the error that tailscaled's text means. The texts are those of Go's `net` package and of gVisor's network
/// stack.
fn classify(text: &str) -> DialError {
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if text.starts_with("resolve failure") {
        // This holds also when the name server was silent: the name is not known.
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
