//! Rotates the auth key of a secret in Secrets Manager.
//!
//! The map: [`settings`] says how, [`step`] is what Secrets Manager asks, [`rotation`] does it, [`store`] is the secret
//! with its versions, [`key`] what one version holds and how good it is, [`expiry`] for how long. Keys are made by a
//! [`maker`] with [`credentials`]: [`tailscale`] or [`headscale`], both over [`api`].

pub mod api;
pub mod credentials;
pub mod expiry;
pub mod headscale;
pub mod key;
pub mod maker;
pub mod rotation;
pub mod settings;
pub mod step;
pub mod store;
pub mod tailscale;
