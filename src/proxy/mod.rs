//! The proxy: listener → handshake → connector → relay. Each step knows only the next one's input.

mod connector;
mod counters;
mod listener;
mod policy;
mod relay;
mod reply;
mod socks;

pub use connector::{Connector, Outcome};
pub use counters::Counters;
pub use listener::serve;
pub use policy::Policy;
pub use socks::Socks;
