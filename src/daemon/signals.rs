//! Catches signals and hands them on in the order in which they came.
//!
//! They are caught before settings are read, since the kernel ignores an unhandled SIGTERM for process 1.
//! The handler writes one byte for each into a socket.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream as StdStream;

use nix::libc::{c_int, siginfo_t};
use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::exit_reason::ExitReason;

/// Signals that are left alone where this process was started with them ignored: a hangup by nohup(1), a key at the
/// terminal for a job in the background.
const STAYS_IGNORED: [Signal; 2] = [SIGHUP, SIGQUIT];

/// Sent to a daemon of several tailnets when its supervisor ends: by the kernel, once for each thread that its parent may still be. So
/// it must not be one that hurries when it comes again.
pub const SUPERVISOR_ENDED: Signal = SIGUSR1;

/// Bit that is set in the byte of a signal, in addition to its number, when the kernel sent the signal and not a
/// process.
const BY_KERNEL: u8 = 0x80;

/// Catches signals before there is an event loop. They wait until [`Signals::listen`].
pub struct Signals(StdStream);

impl Signals {
    /// Catches the requests to stop.
    pub fn to_stop() -> Result<Self, ExitReason> {
        Self::catch(&[SIGTERM, SIGINT, SIGHUP, SIGQUIT])
    }

    /// Catches the requests to stop, and the end of the supervisor.
    pub fn to_stop_or_lose_supervisor() -> Result<Self, ExitReason> {
        Self::catch(&[SIGTERM, SIGINT, SIGHUP, SIGQUIT, SUPERVISOR_ENDED])
    }

    /// Catches all signals that `exec` passes on to its command.
    pub fn to_pass_on() -> Result<Self, ExitReason> {
        Self::catch(&[SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH])
    }

    /// Catches nothing.
    pub fn none() -> Result<Self, ExitReason> {
        Self::catch(&[])
    }

    fn catch(signals: &[Signal]) -> Result<Self, ExitReason> {
        let (read, write) = pair().map_err(unusable)?;
        for signal in signals {
            if STAYS_IGNORED.contains(signal) && is_ignored(*signal) {
                continue;
            }
            write.try_clone().and_then(|pipe| write_at(*signal, pipe)).map_err(unusable)?;
        }
        Ok(Self(read))
    }

    /// Moves the signals into the event loop. Fails outside of it.
    pub fn listen(self) -> Result<Listening, ExitReason> {
        UnixStream::from_std(self.0).map(Listening).map_err(unusable)
    }
}

/// Returns a stream that becomes readable when a child ends. Needs the event loop.
pub fn child_ended() -> io::Result<UnixStream> {
    let (read, write) = pair()?;
    signal_hook::low_level::pipe::register(Signal::SIGCHLD as c_int, write)?;
    UnixStream::from_std(read)
}

fn pair() -> io::Result<(StdStream, StdStream)> {
    let (read, write) = StdStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    Ok((read, write))
}

/// Whether the signal is ignored now.
#[allow(unsafe_code)]
fn is_ignored(signal: Signal) -> bool {
    let mut now = MaybeUninit::<nix::libc::sigaction>::zeroed();
    // SAFETY: without a new action sigaction(2) only writes the present one to `now`, which is of its type; all zeros are a
    // value of that type, too.
    unsafe {
        nix::libc::sigaction(signal as c_int, std::ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == nix::libc::SIG_IGN
    }
}

/// Has each `signal` write its byte to `pipe`.
#[allow(unsafe_code)]
fn write_at(signal: Signal, pipe: StdStream) -> io::Result<()> {
    let handler = move |info: &siginfo_t| {
        let origin = if info.si_code > 0 { BY_KERNEL } else { 0 };
        // A full pipe is unread signals enough; nothing could be done about an error here.
        let _ = (&pipe).write(&[signal as u8 | origin]);
    };
    // SAFETY: the handler does one write(2) that does not block: no lock, no allocation, no panic; errno is kept by
    // the registry.
    unsafe { signal_hook_registry::register_sigaction(signal as c_int, handler) }.map(drop)
}

fn unusable(error: io::Error) -> ExitReason {
    ExitReason::Configuration(format!("signals cannot be caught: {error}; raise the limit of open files"))
}

/// A signal that was caught.
#[derive(Clone, Copy, Debug)]
pub struct Caught {
    pub signal: Signal,
    /// Whether the kernel sent it, not a process: a key was pressed at the terminal, which tells the whole foreground
    /// group.
    pub by_kernel: bool,
}

impl Caught {
    /// Whether the signal asks the daemon to end, where no command is there to decide.
    pub fn stops(self) -> bool {
        matches!(self.signal, SIGTERM | SIGINT | SIGHUP | SIGQUIT)
    }

    /// Returns why the daemon stops, where it does.
    pub fn reason(self) -> String {
        match self.signal {
            SUPERVISOR_ENDED => "the supervisor has ended".to_owned(),
            signal => format!("{signal} was received"),
        }
    }

    /// Whether the signal, come after one that asks to end, asks to end at once. A terminal that goes away tells of it more
    /// than once: the kernel does, and the shell.
    pub fn hurries(self) -> bool {
        self.stops() && self.signal != SIGHUP
    }
}

/// Waits for signals inside the event loop.
pub struct Listening(UnixStream);

impl Listening {
    /// Waits for the next signal.
    pub async fn next(&mut self) -> Caught {
        match self.0.read_u8().await.map(|byte| (Signal::try_from(c_int::from(byte & !BY_KERNEL)), byte)) {
            Ok((Ok(signal), byte)) => Caught { signal, by_kernel: byte & BY_KERNEL != 0 },
            // The writing ends live in the signal handlers as long as the process does, and write known numbers.
            _ => std::future::pending().await,
        }
    }
}
