//! Memory: what the control groups allow, how much of it tailscaled gets, what is done when there is little left, and how
//! tetherd itself gives back what it needs no more.

mod brake;
mod budget;
mod cgroup;
mod headroom;
mod program;
mod watch;

pub use brake::Brake;
pub use budget::{Share, Sharing};
pub use cgroup::{Groups, Usage};
pub use headroom::Headroom;
pub use program::forget_code;
pub use watch::LimitWatch;
