//! tailscaled as a child: found, started, joined, watched, restarted as the same node, ended.

mod binary;
mod bus;
mod control;
mod dialer;
mod directory;
mod environment;
mod keeper;
mod local_api;
mod log_lines;
mod login;
mod path_watch;
mod process;
mod restart;
mod session;
mod verification;

pub use binary::{find, version};
pub use control::Control;
pub use dialer::{Dialer, SocksPort};
pub use directory::{StateDir, StateDirError};
pub use environment::for_tailscaled as environment;
pub use keeper::{AtEnd, Keeper, Report};
pub use local_api::{LocalApi, Node, Status};
pub use login::{Login, Preferences};
pub use path_watch::PathWatch;
pub use process::Launch;
