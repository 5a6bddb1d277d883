//! Tests of auth keys from where they are kept, end to end.
//!
//! They use moto as AWS, the real headscale, and a stand-in for Tailscale's API that hands out real keys. Each test in
//! a network namespace of its own.

mod credentials;
mod endpoints;
mod failures;
mod identities;
mod joins;
mod renewal;
mod scene;
mod secrecy;
