//! tetherd gives any container a tailnet without privileges.
//!
//! The map, in the order in which one module uses the next:
//! [`cli`] reads the arguments → [`supervisor`] puts one life together → [`runtime`], [`tailscaled`], [`proxy`],
//! [`health`] do the work, [`keys`] gets auth keys → [`config`], [`state`], [`secret`] are what they share. [`dial`] is the seam between the
//! proxy and tailscaled, [`status`] what a person wants to know, [`http`] one request over one connection, [`text`] what
//! text needs for where it goes, [`failed_accepts`] what a listener does that cannot accept, [`fatal`] the reasons to end. [`memory`] what the
//! container's memory allows, [`child`] and [`inherited`] are what all children have in common,
//! [`proxy_env`] the variables by which programs find the proxy, [`reachable`] where a listener is, [`address`] the one form of addresses,
//! [`local_stream`] a connection over a unix socket, [`net`] what the kernel tells of sockets.

pub mod address;
pub mod child;
pub mod cli;
pub mod config;
pub mod datagrams;
pub mod dial;
pub mod failed_accepts;
pub mod fatal;
pub mod health;
pub mod http;
pub mod inherited;
pub mod keys;
pub mod local_stream;
pub mod memory;
pub mod net;
pub mod proxy;
pub mod proxy_env;
pub mod reachable;
pub mod runtime;
pub mod secret;
pub mod state;
pub mod status;
pub mod supervisor;
pub mod tailscaled;
pub mod text;
