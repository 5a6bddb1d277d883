//! Health, status and metrics over HTTP: GET and HEAD only, nothing secret, nothing that changes anything.

mod metrics;
mod page;
mod routes;
mod server;

pub use metrics::Measured;
pub use routes::{Inspect, View};
pub use server::serve;
