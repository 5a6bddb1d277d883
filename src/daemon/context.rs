//! The values that a run of the daemon starts from.

use std::net::SocketAddr;
use std::os::unix::net::UnixListener;

use serde::{Deserialize, Serialize};

use crate::config::settings::Settings;
use crate::environment::Environment;
use crate::memory::budget::MemoryBudget;
use crate::platform::interface::Platform;
use crate::process::oom_score::OomScore;
use crate::sync::start_gate::StartGate;
use crate::tailscaled::process::socket_path::SocketPath;
use crate::tailscaled::process::state_dir::StateDir;

/// Where others than this daemon listen who belong to it: its supervisor, and the daemons of other tailnets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherListeners {
    pub tcp: Vec<SocketAddr>,
    pub udp: Vec<SocketAddr>,
}

/// What a daemon has of the supervisor that has started it.
#[derive(Debug)]
pub struct Supervised {
    /// Where the supervisor asks.
    pub questions: UnixListener,
    pub others: OtherListeners,
}

/// Surroundings of the process, known before its settings are.
#[derive(Clone)]
pub struct DaemonContext<'a> {
    pub platform: &'static dyn Platform,
    pub environment: &'a Environment,
    /// The limit on memory, and whether an application shares it; `None` where nothing counts memory.
    pub memory: Option<MemoryBudget>,
    pub oom_score: OomScore,
    /// Has the thread that writes the log do something, next of all.
    pub on_log_thread: fn(Box<dyn FnOnce() + Send>),
    /// Name of the tailnet in the file of settings, where that has several.
    pub tailnet: Option<&'a str>,
    /// Set where a supervisor has started the daemon.
    pub supervised: Option<&'a Supervised>,
}

/// Everything that the daemon is built from.
#[derive(Clone, Copy)]
pub struct BuildInputs<'a> {
    pub settings: &'a Settings,
    pub context: &'a DaemonContext<'a>,
    /// Where tailscaled keeps its state.
    pub state_dir: &'a StateDir,
    /// Where tailscaled's LocalAPI listens.
    pub socket: &'a SocketPath,
    /// What the join waits for.
    pub start_gate: &'a StartGate,
    /// What confines this process, such as `landlock`; empty where nothing does.
    pub confinement: &'a [&'static str],
}
