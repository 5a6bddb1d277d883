//! The proxy: listener → client (SOCKS5 or HTTP) → connector → relay. Each step knows only the next one's input.

pub mod client;
pub mod connect;
pub(crate) mod http;
pub mod listener;
pub mod metrics;
pub mod policy;
pub mod relay;
pub(crate) mod socks5;
