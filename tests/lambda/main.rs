//! Tests of the daemon as an AWS Lambda extension.
//!
//! The real runtime interface emulator with real functions, real tailscaled in the layer's small build, real headscale,
//! each test in a network namespace of its own.

mod ends;
mod examples;
mod failures;
mod layer;
mod lifecycle;
mod memory;
mod metrics;
mod scene;
mod secrets;
mod thaw;
