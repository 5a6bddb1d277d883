//! Memory: what the control groups allow, how much of it tailscaled gets, and what is done when there is little left.

mod brake;
mod budget;
mod cgroup;
mod headroom;
mod program;

pub use brake::Brake;
pub use budget::{Share, Sharing};
pub use cgroup::{Groups, Usage};
pub use headroom::Headroom;
pub use program::forget_code;
