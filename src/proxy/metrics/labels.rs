//! The labels of the proxy's metrics. Each has a handful of values.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use crate::target::dial::DialError;

/// Declares a label with its values as the metrics have them.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident: $($(#[$about:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$about])* $variant),+ }

        impl $name {
            /// Returns the value as metrics and log have it.
            #[allow(dead_code, reason = "the log has some of the labels")]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> std::fmt::Result {
                self.word().encode(encoder)
            }
        }
    };
}

label!(
    /// The protocol of a request.
    Protocol:
        Socks5 = "socks5",
        /// UDP ASSOCIATE.
        Socks5Udp = "socks5_udp",
        /// An absolute-form request.
        Http = "http",
        HttpConnect = "http_connect",
        /// A port of `forwards`.
        Forward = "forward",
        /// The client sent nothing, or nothing that is known.
        Unknown = "unknown",
);

label!(
    /// What came of a request.
    Outcome:
        Connected = "connected",
        /// Refused by `allow`, `deny`, `direct` or the rules that always hold.
        Policy = "policy",
        /// User and password were wrong or missing.
        Unauthorized = "unauthorized",
        /// The user has as many connections as it may.
        Limit = "limit",
        /// The client sent nothing, or not what the protocol says.
        Malformed = "malformed",
        /// The client sent nothing complete within `handshake_timeout`.
        TooSlow = "too_slow",
        /// A command that is not served.
        Unsupported = "unsupported",
        Network = "network",
        Host = "host",
        /// The target refused.
        Refused = "refused",
        TimedOut = "timed_out",
        /// tailscaled failed, or the target in the middle of a response.
        Failed = "failed",
);

label!(
    /// Which part of tetherd itself refused a client.
    Refuser:
        Policy = "policy",
        Authentication = "authentication",
        /// The `max_connections` of a user.
        Limit = "limit",
        Protocol = "protocol",
);

label!(
    /// How a target is reached.
    Path:
        Tailnet = "tailnet",
        Direct = "direct",
);

label!(
    /// Which way bytes go, from the client's side.
    Direction:
        Sent = "sent",
        Received = "received",
);

impl Protocol {
    /// The protocols whose requests can lead to a connection.
    pub const SERVED: [Self; 5] = [Self::Socks5, Self::Socks5Udp, Self::Http, Self::HttpConnect, Self::Forward];
}

impl Outcome {
    /// Returns the part of tetherd that refused the client; `None` where tetherd did not.
    pub fn refuser(self) -> Option<Refuser> {
        match self {
            Self::Policy => Some(Refuser::Policy),
            Self::Unauthorized => Some(Refuser::Authentication),
            Self::Limit => Some(Refuser::Limit),
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
