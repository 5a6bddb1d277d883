//! Health, status and metrics over HTTP.
//!
//! Only GET and HEAD are served: nothing that is shown is secret, and no request changes anything.

pub(crate) mod audience;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod private;
pub(crate) mod responses;
pub(crate) mod routes;
pub(crate) mod server;
