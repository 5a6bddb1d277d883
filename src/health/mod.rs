//! Health and status over HTTP: GET and HEAD only, nothing secret, nothing that changes anything.

mod page;
mod routes;
mod server;

pub use routes::{Inspect, View};
pub use server::serve;
