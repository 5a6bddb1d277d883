//! Tests of the rotation as a function in AWS's runtime interface emulator.
//!
//! moto is Secrets Manager.

mod adversity;
mod control_api;
mod first_key;
mod headscale;
mod scene;
mod tailscale;
