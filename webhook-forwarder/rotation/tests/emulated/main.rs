//! The rotation as a function in AWS's runtime interface emulator, with moto as Secrets Manager.

mod adversity;
mod control_api;
mod first_key;
mod headscale;
mod scene;
mod tailscale;
