//! Tests of the Helm chart, rendered by helm in every mode.
//!
//! What is rendered is judged by schemas of Kubernetes, by the API server's own code, and by tetherd itself. `make
//! chart-tools` builds what these tests need.

mod adapter;
mod chart;
mod gateway;
mod injection;
mod keys;
mod network_policy;
mod places;
mod schema;
mod settings;
mod sidecar;
mod valid;
