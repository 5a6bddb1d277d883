//! Requests to stop: SIGTERM and SIGINT, caught from the first line on, since the kernel ignores an unhandled
//! SIGTERM for process 1.

use std::io;
use std::os::unix::net::UnixStream as StdStream;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::fatal::Fatal;

/// Signals that were caught and not yet looked at: each wrote a byte into its pipe.
pub struct Signals {
    terminate: StdStream,
    interrupt: StdStream,
}

impl Signals {
    /// Starts to catch them.
    pub fn catch() -> Result<Self, Fatal> {
        let catch = |signal| {
            let (read, write) = StdStream::pair()?;
            read.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            pipe::register(signal, write)?;
            io::Result::Ok(read)
        };
        Ok(Self { terminate: catch(SIGTERM).map_err(unusable)?, interrupt: catch(SIGINT).map_err(unusable)? })
    }

    /// Takes them into the event loop.
    pub(super) fn listen(self) -> Result<Listening, Fatal> {
        Ok(Listening {
            terminate: UnixStream::from_std(self.terminate).map_err(unusable)?,
            interrupt: UnixStream::from_std(self.interrupt).map_err(unusable)?,
        })
    }
}

fn unusable(error: io::Error) -> Fatal {
    Fatal::Configuration(format!("signals cannot be caught: {error}; raise the limit of open files"))
}

/// Signals inside the event loop.
pub(super) struct Listening {
    terminate: UnixStream,
    interrupt: UnixStream,
}

impl Listening {
    /// The name of the next signal.
    pub(super) async fn next(&mut self) -> &'static str {
        let caught = tokio::select! {
            byte = self.terminate.read_u8() => byte.map(|_| "SIGTERM"),
            byte = self.interrupt.read_u8() => byte.map(|_| "SIGINT"),
        };
        match caught {
            Ok(signal) => signal,
            // The writing ends live in the signal handlers as long as the process does.
            Err(_) => std::future::pending().await,
        }
    }
}
