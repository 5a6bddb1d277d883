//! Forwards HTTP requests of API Gateway over the tailnet, byte for byte.
//!
//! The map, in the order of one request: [`event`] is what Lambda is handed, [`request`] the HTTP request in it,
//! where [`dot_segments`] are refused, [`signature`] the check of its sender, [`outgoing`] the request as the target gets
//! it, [`upstream`] the way there through [`socks`], [`target_answer`] what came back, [`answer`] what the caller gets.
//! [`queue`] stands between the two in asynchronous mode, [`handler`] puts them together, and [`settings`] says how.

pub mod answer;
pub mod dot_segments;
pub mod encoding;
pub mod event;
pub mod failure;
pub mod handler;
pub mod headers;
pub mod outgoing;
pub mod queue;
pub mod request;
pub mod settings;
pub mod signature;
pub mod socks;
pub mod target_answer;
pub mod upstream;
