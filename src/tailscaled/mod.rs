//! tailscaled as a child: found, started, joined, watched, restarted as the same node, ended.

mod binary;
mod bus;
mod control;
mod dialer;
mod directory;
mod environment;
mod exit_node;
mod exit_rule;
mod keeper;
mod local_api;
mod log_lines;
mod login;
mod node_api;
mod path_watch;
mod process;
mod restart;
mod serve;
mod session;
mod socket;
mod standing;
mod thaw;
mod verification;

pub use binary::{find, version};
pub use control::Control;
pub use dialer::{Dialer, SocksPort};
pub use directory::{StateDir, StateDirError};
pub use environment::for_tailscaled as environment;
pub use exit_node::{ChosenExitNode, ExitNodeWatch, Obstacle};
pub use keeper::{AtEnd, Keeper, Report};
pub use local_api::{LocalApi, Node, Status};
pub use login::{Login, Preferences};
pub use path_watch::PathWatch;
pub use process::Launch;
pub use serve::ServeFile;
pub use socket::{SocketError, SocketPlace};
pub use thaw::Thaw;
