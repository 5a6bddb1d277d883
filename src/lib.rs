//! tetherd gives any container a tailnet without privileges.
//!
//! The map, in the order in which one module uses the next:
//! [`cli`] reads the arguments → [`supervisor`] puts one life together → [`runtime`], [`tailscaled`], [`proxy`],
//! [`health`] do the work → [`config`], [`state`], [`secret`] are what they share. [`dial`] is the seam between the
//! proxy and tailscaled, [`status`] what a person wants to know, [`http`] one request over one connection, [`text`] the text of others, [`fatal`]
//! the reasons to end.

pub mod cli;
pub mod config;
pub mod dial;
pub mod fatal;
pub mod health;
pub mod http;
pub mod proxy;
pub mod runtime;
pub mod secret;
pub mod state;
pub mod status;
pub mod supervisor;
pub mod tailscaled;
pub mod text;
