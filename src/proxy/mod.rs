//! The proxy: listener → client (SOCKS5 or HTTP) → connector → relay. Each step knows only the next one's input.

mod client;
mod connector;
mod counters;
mod http;
mod listener;
mod policy;
mod relay;
mod reply;
mod socks;
mod stream;
mod udp;

pub use client::Proxy;
pub use connector::{Connector, Outcome};
pub use counters::Counters;
pub use listener::{Listener, serve};
pub use policy::Policy;
pub use relay::Patience;
pub use stream::Stream;
