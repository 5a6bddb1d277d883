//! tetherd gives any container a tailnet without privileges.
//!
//! The map, in the order in which one module uses the next:
//! [`cli`] reads arguments and settings, `supervisor` keeps a daemon for each tailnet, [`daemon`] runs one life of the program → [`platform`], [`tailscaled`],
//! [`proxy`], `dns`, [`auth_keys`] and [`health`] do the work → [`config`], [`target`], [`net`], [`secret`], [`state`] and the
//! other leaves are what they share. docs/architecture.md draws it.

pub mod auth_keys;
pub mod cli;
pub mod config;
pub mod daemon;
pub(crate) mod dns;
pub mod environment;
pub mod exit_reason;
pub mod health;
pub mod memory;
pub mod net;
pub mod platform;
pub mod process;
pub mod proxy;
pub mod secret;
pub mod state;
pub mod status;
pub(crate) mod supervisor;
pub(crate) mod sync;
pub mod tailscaled;
pub mod target;
pub mod text;
