//! Dials through tailscaled: by the calls of ours inside it, or, where a user's tailscaled lacks them, by LocalAPI's `dial`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::ahead::Ahead;
use super::calls::{self, Calls, Channel};
use super::dial_request::{self, Answer};
use super::exit_rule::ExitRule;
use super::foreign_names::OwnNames;
use super::local_api::{LocalApi, Node};
use super::outside::Outside;
use super::thaw::Thaw;
use super::unknown_v6::{leads_to, needs_a_node};
use crate::datagrams::Datagrams;
use crate::dial::{Dial, DialError, Dialled, Host, Located, Place, Tailnet, Target};
use crate::local_stream::LocalStream;

/// Dials through one tailscaled. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    pub(super) api: LocalApi,
    calls: Calls,
    ahead: Ahead,
    thaw: Thaw,
    names: OwnNames,
    exit: ExitRule,
    outside: Outside,
}

impl Dialer {
    pub fn new(api: LocalApi, calls: Calls, thaw: Thaw) -> Self {
        Self {
            ahead: Ahead::new(api.socket().to_owned()),
            api,
            calls,
            thaw,
            names: OwnNames::default(),
            exit: ExitRule::default(),
            outside: Outside::default(),
        }
    }

    /// Sends nothing past an exit node.
    pub fn only_by_exit_node(self) -> Self {
        Self { exit: ExitRule::OnlyByExitNode, ..self }
    }

    /// The session with tailscaled; `None` where it has no calls.
    async fn channel(&self) -> Result<Option<Arc<Channel>>, DialError> {
        self.thaw.settle().await;
        self.calls.channel().await.map_err(unreachable)
    }

    async fn dial_by_calls(&self, channel: Arc<Channel>, target: &Target) -> Result<Dialled, DialError> {
        let Host::Ip(address) = target.host else {
            // It was looked up by another tailscaled, which had no calls.
            return Err(DialError::Tailscaled("it was started again meanwhile".into()));
        };
        let address = SocketAddr::new(address, target.port);
        match calls::dial(channel, address).await? {
            Some(held) => Ok(Dialled::Tailnet(Tailnet::Held(held))),
            None => {
                let permitted = self.exit.permit(Dialled::Outside(address))?;
                self.outside.learn(address.ip());
                Ok(permitted)
            }
        }
    }

    async fn locate_by_calls(&self, channel: &Channel, host: &Host) -> Result<Place, DialError> {
        let name = match host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        let mut permitted = Vec::new();
        let mut refusal = None;
        for located in calls::resolve(channel, &name).await? {
            if located.inside {
                permitted.push(located);
                continue;
            }
            match self.exit.permit(Dialled::Outside((located.address, 0).into())) {
                Ok(_) => {
                    self.outside.learn(located.address);
                    permitted.push(located);
                }
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(error) if permitted.is_empty() => Err(error),
            _ => Ok(Place::Addresses(permitted)),
        }
    }

    async fn locate_without_calls(&self, target: &Target, by_address: bool) -> Result<Place, DialError> {
        let Host::Name(name) = &target.host else { return Ok(Place::Name) };
        if !self.names.is_own(name, &self.api).await? {
            return self.locate_foreign(name, target).await;
        }
        if !by_address {
            return Ok(Place::Name);
        }
        let node = self.nodes().await?.into_iter().find(|node| is_named(node, name));
        let addresses = node.and_then(|node| node.addresses);
        Ok(addresses.map_or(Place::Name, |addresses| Place::Addresses(inside(addresses))))
    }

    pub(super) fn goes_by_exit_node(&self) -> bool {
        self.exit == ExitRule::OnlyByExitNode
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
    pub(super) async fn dial_on(&self, network: &str, target: &Target) -> Result<Dialled, DialError> {
        if matches!(&target.host, Host::Name(name) if name.is_empty()) {
            return Err(DialError::Host("the name is empty".into()));
        }
        if let Host::Ip(address) = target.host {
            self.must_be_known(address).await?;
        }
        let request = dial_request::request(network, target)
            .ok_or_else(|| DialError::Host(format!("{:?} is not a host name", target.host.to_string())))?;
        let (connection, answer) = self.exchange(&request).await.map_err(unreachable)?;
        match answer {
            Answer::Stream(early) => {
                self.ahead.open_more();
                Ok(Dialled::Tailnet(Tailnet::Stream(connection, early)))
            }
            Answer::Other { status, dial_address, text } => {
                self.ahead.put_back(connection);
                match status {
                    200 => {
                        let address = outside_address(dial_address)?;
                        let permitted = self.exit.permit(Dialled::Outside(address))?;
                        if target.host == Host::Ip(address.ip()) {
                            self.outside.learn(address.ip());
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
            match dial_request::exchange(&mut connection, request).await {
                Ok(answer) => return Ok((connection, answer)),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                Err(_) => self.ahead.forget(),
            }
        }
        let mut connection = self.ahead.connect().await?;
        let answer = dial_request::exchange(&mut connection, request).await?;
        Ok((connection, answer))
    }
}

impl Dial for Dialer {
    async fn dial(&self, target: &Target) -> Result<Dialled, DialError> {
        if let Some(address) = self.exit.own_loopback(target) {
            return Ok(Dialled::Outside(address));
        }
        // By an exit node alone, nothing goes past the tailnet on an answer from before.
        if let Host::Ip(address) = target.host
            && self.exit == ExitRule::Open
            && self.outside.has(address)
        {
            return Ok(Dialled::Outside((address, target.port).into()));
        }
        match self.channel().await? {
            Some(channel) => self.dial_by_calls(channel, target).await,
            // In a box: what a dial takes is to be no more than its own way needs.
            None => Box::pin(self.dial_on("tcp", target)).await,
        }
    }

    async fn domain(&self) -> Result<String, DialError> {
        self.names.domain(&self.api).await
    }

    async fn locate(&self, target: &Target, by_address: bool) -> Result<Place, DialError> {
        if let Some(address) = self.exit.own_loopback(target) {
            return Ok(Place::Addresses(vec![Located { address: address.ip(), inside: false }]));
        }
        match self.channel().await? {
            Some(channel) => self.locate_by_calls(&channel, &target.host).await,
            None => Box::pin(self.locate_without_calls(target, by_address)).await,
        }
    }

    async fn associate(&self) -> Result<Datagrams, DialError> {
        match self.channel().await? {
            Some(channel) => calls::associate(&channel).await,
            None => Err(DialError::Other("this tailscaled carries no datagrams: it has no calls of tetherd's".into())),
        }
    }

    fn carries_datagrams(&self) -> bool {
        !self.calls.is_stock()
    }

    async fn traffic(&self) -> (u64, u64) {
        self.calls.traffic().await.unwrap_or_default()
    }
}

/// Addresses that a node leads to.
pub(super) fn inside(addresses: Vec<IpAddr>) -> Vec<Located> {
    addresses.into_iter().map(|address| Located { address, inside: true }).collect()
}

/// Whether `node` is the one that MagicDNS knows by `name`, short or whole.
fn is_named(node: &Node, name: &str) -> bool {
    let (own, name) = (node.dns_name.trim_end_matches('.'), name.trim_end_matches('.'));
    let short = own.split('.').next().unwrap_or_default();
    !own.is_empty() && (own.eq_ignore_ascii_case(name) || short.eq_ignore_ascii_case(name))
}

fn unreachable(error: io::Error) -> DialError {
    DialError::Tailscaled(format!("connection: {error}"))
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
