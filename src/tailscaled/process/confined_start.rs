//! Starts a tailscaled that is confined.

use std::io;

use tokio::process::{Child, Command};

use crate::process::confinement::{Confinement, Writable};
use crate::process::oom_score::OomScore;

/// How a confined tailscaled starts.
pub struct ConfinedStart {
    pub writes: Vec<Writable>,
    /// Whether this process has the filter of system calls, which children inherit.
    pub inherits_filter: bool,
    pub oom_score: OomScore,
}

impl ConfinedStart {
    /// Starts `command`, confined and as the first to go when memory is short.
    ///
    /// # Errors
    /// When its program cannot be executed.
    pub fn spawn(&self, mut command: Command) -> io::Result<Child> {
        let whole = Confinement::new(&self.writes);
        let confinement = if self.inherits_filter { whole.without_filter() } else { whole };
        confinement.apply_to(&mut command);
        self.oom_score.victim(|| command.spawn())
    }
}
