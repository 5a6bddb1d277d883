//! Dials through tailscaled: TCP over LocalAPI, UDP over tailscaled's own SOCKS5 server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use fast_socks5::client::{Config, Socks5Stream};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{Socks5Command, SocksError};
use tokio::net::TcpStream;

use super::ahead::Ahead;
use super::dial_request::{self, Answer};
use super::exit_rule::ExitRule;
use super::foreign_names::OwnNames;
use super::local_api::{LocalApi, Node};
use super::outside::Outside;
use super::thaw::Thaw;
use super::unknown_v6::{leads_to, needs_a_node};
use crate::dial::{Association, Dial, DialError, Dialled, Host, Place, Route, Target};
use crate::local_stream::LocalStream;

/// The loopback port of the SOCKS5 server of the tailscaled that runs now; 0 where it has none.
#[derive(Clone, Debug, Default)]
pub struct SocksPort(Arc<AtomicU16>);

impl SocksPort {
    /// Takes a port that is free now: another one at each start, since somebody may have taken the last.
    pub(super) fn choose(&self) -> Option<SocketAddr> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()).ok()?.port();
        self.0.store(port, Ordering::Release);
        self.address()
    }

    fn address(&self) -> Option<SocketAddr> {
        let port = self.0.load(Ordering::Acquire);
        (port != 0).then(|| (Ipv4Addr::LOCALHOST, port).into())
    }
}

/// Dials through one tailscaled. Cheap to clone.
#[derive(Clone)]
pub struct Dialer {
    pub(super) api: LocalApi,
    ahead: Ahead,
    socks_port: SocksPort,
    thaw: Thaw,
    names: OwnNames,
    exit: ExitRule,
    outside: Outside,
}

impl Dialer {
    pub fn new(api: LocalApi, socks_port: SocksPort, thaw: Thaw) -> Self {
        Self {
            ahead: Ahead::new(api.socket().to_owned()),
            api,
            socks_port,
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

    pub(super) async fn dial_on(&self, network: &str, target: &Target) -> Result<Dialled, DialError> {
        if matches!(&target.host, Host::Name(name) if name.is_empty()) {
            return Err(DialError::Host("the name is empty".into()));
        }
        if let Some(address) = self.exit.own_loopback(target) {
            return Ok(Dialled::Outside(address));
        }
        if let Host::Ip(address) = target.host {
            // By an exit node alone, nothing goes past the tailnet on an answer from before.
            if self.exit == ExitRule::Open && self.outside.has(address) {
                return Ok(Dialled::Outside((address, target.port).into()));
            }
            self.must_be_known(address).await?;
        }
        let request = dial_request::request(network, target)
            .ok_or_else(|| DialError::Host(format!("{:?} is not a host name", target.host.to_string())))?;
        self.thaw.settle().await;
        let (connection, answer) = self.exchange(&request).await.map_err(unreachable)?;
        match answer {
            Answer::Stream(early) => {
                self.ahead.open_more();
                Ok(Dialled::Tailnet(connection, early))
            }
            Answer::Other { status, dial_address, text } => {
                self.ahead.put_back(connection);
                match status {
                    200 => {
                        let address = outside(dial_address)?;
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
        self.dial_on("tcp", target).await
    }

    async fn domain(&self) -> Result<String, DialError> {
        self.names.domain(&self.api).await
    }

    async fn locate(&self, target: &Target, by_address: bool) -> Result<Place, DialError> {
        let Host::Name(name) = &target.host else { return Ok(Place::Name) };
        if !self.names.is_own(name, &self.api).await? {
            return self.locate_foreign(name, target).await;
        }
        if !by_address {
            return Ok(Place::Name);
        }
        let node = self.nodes().await?.into_iter().find(|node| is_named(node, name));
        Ok(node.and_then(|node| node.addresses).map_or(Place::Name, Place::Tailnet))
    }

    async fn route_datagrams(&self, target: &Target) -> Result<Route, DialError> {
        Ok(match self.dial_on("udp", target).await? {
            Dialled::Tailnet(..) => Route::Tailnet,
            // tailscaled, which carries datagrams, would send them to the exit node.
            Dialled::Outside(address) if self.exit == ExitRule::OnlyByExitNode => {
                return Err(DialError::Policy(format!("datagrams to {address} would go to the exit node")));
            }
            Dialled::Outside(address) => Route::Outside(address),
        })
    }

    async fn associate(&self) -> Result<Association, DialError> {
        let failed = |error: String| DialError::Tailscaled(format!("its SOCKS5 server: {error}"));
        self.thaw.settle().await;
        let server = self.socks_port.address().ok_or_else(|| failed("not started".into()))?;
        let stream = TcpStream::connect(server).await.map_err(|error| failed(error.to_string()))?;
        let unspecified = TargetAddr::Ip(SocketAddr::from(([0, 0, 0, 0], 0)));
        let associated = async {
            let mut client = Socks5Stream::use_stream(stream, None, Config::default()).await?;
            let relay = client.request(Socks5Command::UDPAssociate, unspecified).await?;
            Ok::<_, SocksError>((client.get_socket(), relay))
        };
        match associated.await.map_err(|error| failed(error.to_string()))? {
            (control, TargetAddr::Ip(relay)) => Ok(Association { control, relay }),
            (_, TargetAddr::Domain(..)) => Err(failed("it named no address".into())),
        }
    }
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

fn outside(address: Option<String>) -> Result<SocketAddr, DialError> {
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
