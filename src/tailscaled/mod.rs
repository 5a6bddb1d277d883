//! tailscaled as a child process: found, started, watched, restarted, ended.

pub(crate) mod backoff;
pub mod calls;
pub mod dialer;
pub(crate) mod events;
pub(crate) mod exit_node;
pub(crate) mod keeper;
pub mod local_api;
pub(crate) mod logout;
pub mod own_node;
pub mod path;
pub(crate) mod process;
pub(crate) mod serve_file;
pub(crate) mod session;
pub(crate) mod stop;
