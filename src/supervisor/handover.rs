//! What the supervisor hands to a daemon: settings, secrets, who else listens.
//!
//! By a socket of theirs, since arguments of a process can be read by everybody, and variables by its user.

use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::unistd::getppid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::daemon::context::{OtherListeners, Supervised};
use crate::daemon::signals::SUPERVISOR_ENDED;

/// Everything that a daemon needs to know beside its arguments and variables.
#[derive(Clone, Serialize, Deserialize)]
pub struct Handover {
    /// Process id of the supervisor.
    pub supervisor: i32,
    /// Number of tailnets, which have the control group's memory together.
    pub tailnets: u64,
    /// Origin and text of the file of settings.
    pub file: (String, String),
    /// Settings of the command line: key and value.
    pub flags: Vec<(String, String)>,
    /// Variables that bear secrets: name and value.
    pub variables: Vec<(String, String)>,
    /// Secrets that were read from what can be read only once, by the name of their setting.
    pub kept: Vec<(String, String)>,
    /// Where the supervisor and the daemons of other tailnets listen.
    pub others: OtherListeners,
}

impl Handover {
    /// The message's bytes, overwritten when dropped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // Texts, numbers and lists of them can always be written.
        Zeroizing::new(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A daemon's connection to its supervisor.
pub struct Supervision {
    pub handover: Handover,
    /// What the daemon has of its supervisor while it runs.
    pub supervised: Supervised,
    words: UnixStream,
}

impl Supervision {
    /// Takes what the supervisor hands over by the inherited listener of this number, and has the kernel tell when the supervisor
    /// ends, by [`SUPERVISOR_ENDED`], which must be caught by now. The calling thread must be the main one.
    ///
    /// # Errors
    /// Where no supervisor is there any more, or never was.
    #[allow(unsafe_code)]
    pub fn receive(descriptor: i32) -> io::Result<Self> {
        // SAFETY: the supervisor has opened it for this process, in which nothing else knows the number. Where a user gives a number by
        // hand, accept(2) fails on whatever it is.
        let listener = unsafe { UnixListener::from_raw_fd(descriptor) };
        let (mut words, _) = listener.accept()?;
        let mut bytes = Zeroizing::new(Vec::new());
        words.read_to_end(&mut bytes)?;
        let handover: Handover = serde_json::from_slice(&bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, "the supervisor has ended"))?;
        set_pdeathsig(SUPERVISOR_ENDED)?;
        // It may have ended before the call above.
        if getppid().as_raw() != handover.supervisor {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the supervisor has ended"));
        }
        // It was started as /proc/self/exe, and would be called `exe` in lists of processes.
        set_name(c"tetherd")?;
        let supervised = Supervised { questions: listener, others: handover.others.clone() };
        Ok(Self { handover, supervised, words })
    }

    /// Tells the supervisor why the daemon ends.
    pub fn report(&self, reason: &str) {
        // Without a supervisor nobody asks.
        let _ = (&self.words).write_all(reason.as_bytes());
    }
}
