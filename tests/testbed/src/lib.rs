//! A test bed: a tailnet made of real parts inside a network namespace.
//!
//! The parts are headscale and tailscaled, and no packet can leave the namespace. Around it is what tests need: target
//! servers, a SOCKS5 client, and the daemon under test as a child process.

pub mod admin;
pub mod api;
pub mod aws;
pub mod black_hole;
pub mod ca;
pub mod cgroup;
pub mod daemon;
pub mod delay;
pub mod descendants;
pub mod dnsmasq;
pub mod docker;
pub mod ends;
pub mod flows;
pub mod http;
pub mod image;
pub mod kubernetes;
pub mod lambda;
pub mod load;
pub mod locked;
pub mod moto;
pub mod names;
pub mod netns;
pub mod node;
pub mod parts;
pub mod privilege;
pub mod process;
pub mod region;
pub mod relay;
pub mod reset;
pub mod server;
pub mod socks;
pub mod tailnet;
pub mod tailscale_api;
pub mod throttle;
pub mod transcript;
pub mod wait;

pub use admin::{KeyOptions, MachineInfo};
pub use daemon::Daemon;
pub use ends::Ends;
pub use node::{Node, NodeOptions};
pub use server::{Server, SlowAnswer};
pub use tailnet::Tailnet;
pub use wait::wait_until;
