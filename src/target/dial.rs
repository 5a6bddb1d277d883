//! The seam between the proxy and tailscaled: trait `Dial`, outcomes, errors.
//!
//! It says what to dial, what comes of it, and why it may fail.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::body::Bytes;
use thiserror::Error;

use crate::net::unix_stream::LocalStream;
use crate::target::datagrams::Datagrams;
use crate::target::host::{HostName, Target};
use crate::target::own_node::OwnNode;
use crate::target::records::{RecordQuestion, Records};

/// The outcome of a dial.
#[derive(Debug)]
pub enum DialOutcome {
    /// A connection to the target through the tailnet.
    Tailnet(Tailnet),
    /// The target lies outside the tailnet at this address; the caller is to dial it itself.
    Direct(SocketAddr),
}

/// A connection through the tailnet.
pub enum Tailnet {
    /// A connection that tailscaled holds until it gets the client's socket. Half-closes and resets are passed on.
    Waiting(Box<dyn WaitingConnection>),
    /// A stream to a tailscaled without tetherd's calls, and its first bytes, which came with the response to the dial.
    /// tailscaled ends both directions as soon as one ends.
    Stream(LocalStream, Bytes),
}

/// A connection that waits in tailscaled for the socket of its client. Dropping it ends the connection.
pub trait WaitingConnection: Send {
    /// Returns the address of this node's own end of the connection.
    fn own_address(&self) -> SocketAddr;

    /// Hands the client's socket over, and `ahead`, which the client has sent already. Returns when the connection
    /// has ended, and fails when tailscaled ends first. Dropping the future cuts the connection.
    fn hand_over(
        self: Box<Self>,
        client: OwnedFd,
        ahead: Vec<u8>,
        terms: RelayTerms,
    ) -> BoxFuture<'static, io::Result<Relayed>>;
}

impl fmt::Debug for Tailnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting(waiting) => f.debug_tuple("Waiting").field(&waiting.own_address()).finish(),
            Self::Stream(stream, early) => f.debug_tuple("Stream").field(stream).field(&early.len()).finish(),
        }
    }
}

/// Time limits and accounting of a connection that tailscaled relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayTerms {
    /// Longest silence of the connection once one side has ended.
    pub half_closed: Duration,
    /// Longest silence of the connection at all; `None` for no limit.
    pub idle: Option<Duration>,
    /// Whether the connection's bytes count in reports of traffic.
    pub counts_traffic: bool,
}

/// Bytes of a connection that tailscaled relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    pub sent: u64,
    pub received: u64,
    /// Bytes that this and all other connections have sent and received since traffic was counted last.
    pub uncounted: (u64, u64),
}

/// The result of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// A name that is left to tailscaled to resolve.
    Name,
    /// The addresses of the host, any of which may be dialled.
    Addresses(Located),
}

/// What a host stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// The full names that led to the addresses: with a search domain or an alias others than the client's.
    pub names: Vec<HostName>,
    /// Whether the tailnet answers for the name. The addresses of any other one are chosen by its owner.
    pub is_own_name: bool,
    pub addresses: Vec<ResolvedAddress>,
}

/// An address that a name resolved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedAddress {
    pub address: IpAddr,
    /// Whether a node of the tailnet leads there.
    pub by_tailnet: bool,
}

impl ResolvedAddress {
    /// Returns the target at this address and `port`.
    pub fn target(&self, port: u16) -> Target {
        SocketAddr::new(self.address, port).into()
    }
}

/// Why there is no connection. The proxy turns each into the client's own kind of reply.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DialError {
    #[error("not allowed: {0}")]
    Policy(String),
    #[error("network unreachable: {0}")]
    Network(String),
    #[error("host unreachable or unknown: {0}")]
    Host(String),
    #[error("connection refused by the target")]
    Refused,
    #[error("timed out: {0}")]
    TimedOut(String),
    /// tailscaled could not be asked; it is ending or starting. Worth another try once it is ready.
    #[error("tailscaled did not answer: {0}")]
    Tailscaled(String),
    #[error("{0}")]
    Other(String),
}

/// Dials through the tailnet.
pub trait Dial: Send + Sync + 'static {
    /// Dials `target` through the tailnet, or returns the address to dial directly.
    fn dial(&self, target: &Target) -> impl Future<Output = Result<DialOutcome, DialError>> + Send;

    /// Returns this node's names and addresses.
    fn own_node(&self) -> impl Future<Output = Result<Arc<OwnNode>, DialError>> + Send;

    /// Looks up the host of `target`.
    fn locate(&self, target: &Target) -> impl Future<Output = Result<Resolution, DialError>> + Send;

    /// Asks for records of DNS.
    fn records(&self, question: RecordQuestion<'_>) -> impl Future<Output = Result<Records, DialError>> + Send;

    /// Opens an association for datagrams.
    fn associate(&self) -> impl Future<Output = Result<Datagrams, DialError>> + Send;

    /// Whether datagrams can be carried, as far as is known.
    fn carries_datagrams(&self) -> bool;

    /// Returns the bytes that connections relayed by tailscaled have sent and received since the last call.
    fn traffic(&self) -> impl Future<Output = (u64, u64)> + Send;
}
