//! Health, status and metrics over HTTP.
//! GET and HEAD only: nothing is secret, and nothing changes anything.

pub(crate) mod audience;
pub(crate) mod kept_answer;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod routes;
pub(crate) mod server;
