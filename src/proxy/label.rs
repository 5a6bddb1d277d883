//! The labels of the proxy's metrics: each a handful of values.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use crate::dial::DialError;

/// How a client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Socks5,
    /// UDP ASSOCIATE.
    Socks5Udp,
    /// An absolute-form request.
    Http,
    HttpConnect,
    /// A port of `forwards`.
    Forward,
    /// It said nothing, or nothing that is known.
    Unknown,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Connected,
    /// Refused by `allow`, `deny`, `direct` or the rules that always hold.
    Policy,
    /// User and password were wrong or missing.
    Unauthorized,
    /// Not what the protocol says, or nothing.
    Malformed,
    /// Nothing complete within `handshake_timeout`.
    TooSlow,
    /// A command that is not served.
    Unsupported,
    Network,
    Host,
    /// The target refused.
    Refused,
    TimedOut,
    /// tailscaled, or the target in the midst of an answer, failed.
    Failed,
}

/// Which rule of tetherd itself stood against a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refuser {
    Policy,
    Authentication,
    Protocol,
}

/// How a target is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    Tailnet,
    Direct,
}

/// From the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Sent,
    Received,
}

impl Protocol {
    /// Those that lead to a connection.
    pub(super) const SERVED: [Self; 5] = [Self::Socks5, Self::Socks5Udp, Self::Http, Self::HttpConnect, Self::Forward];
}

impl Outcome {
    /// By whom a client was refused, where it was tetherd.
    pub(super) fn refuser(self) -> Option<Refuser> {
        match self {
            Self::Policy => Some(Refuser::Policy),
            Self::Unauthorized => Some(Refuser::Authentication),
            Self::Malformed | Self::TooSlow | Self::Unsupported => Some(Refuser::Protocol),
            Self::Connected | Self::Network | Self::Host | Self::Refused | Self::TimedOut | Self::Failed => None,
        }
    }
}

impl From<&DialError> for Outcome {
    fn from(error: &DialError) -> Self {
        match error {
            DialError::Policy(_) => Self::Policy,
            DialError::Network(_) => Self::Network,
            DialError::Host(_) => Self::Host,
            DialError::Refused => Self::Refused,
            DialError::TimedOut(_) => Self::TimedOut,
            DialError::Tailscaled(_) | DialError::Other(_) => Self::Failed,
        }
    }
}

impl EncodeLabelValue for Protocol {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        match self {
            Self::Socks5 => "socks5",
            Self::Socks5Udp => "socks5_udp",
            Self::Http => "http",
            Self::HttpConnect => "http_connect",
            Self::Forward => "forward",
            Self::Unknown => "unknown",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        match self {
            Self::Connected => "connected",
            Self::Policy => "policy",
            Self::Unauthorized => "unauthorized",
            Self::Malformed => "malformed",
            Self::TooSlow => "too_slow",
            Self::Unsupported => "unsupported",
            Self::Network => "network",
            Self::Host => "host",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Failed => "failed",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Refuser {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        match self {
            Self::Policy => "policy",
            Self::Authentication => "authentication",
            Self::Protocol => "protocol",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Path {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        match self {
            Self::Tailnet => "tailnet",
            Self::Direct => "direct",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Direction {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
        .encode(encoder)
    }
}
