//! The proxy: listener → client (SOCKS5 or HTTP) → connector → relay. Each step knows only the next one's input.

mod admission;
#[cfg(test)]
mod any_pattern;
mod beside;
mod broken_by;
mod client;
mod closed_client;
mod connector;
mod copy;
mod counters;
mod deadline;
mod direct;
mod forbidden;
mod halves;
mod handshake;
mod http;
mod judge;
mod label;
mod lane;
mod listener;
mod patience;
mod policy;
mod relay;
mod reply;
mod socks;
mod splice;
mod stream;
mod ties;
mod udp;

pub use admission::{Admission, Permit};
pub use beside::Heard;
pub use client::Proxy;
pub use connector::Connector;
pub use counters::Counters;
pub use lane::Lane;
pub use listener::{Listener, serve};
pub use patience::{Patience, SILENCE_AT_THE_END};
pub use policy::Policy;
pub use stream::Stream;
