//! Starts the daemon of one tailnet, this same program, and waits for its end.
//!
//! It inherits the listener at which the supervisor asks it; the first connection there brings its settings, and its last words back.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream as StdStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::config::tailnets::TailnetName;
use crate::exit_reason::ExitReason;
use crate::supervisor::handover::Handover;

/// This program, whatever has become of its file.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Hidden flag with the number of the inherited listener.
pub const SUPERVISED: &str = "supervised";

/// Longest last words, in bytes.
const LONGEST_WORDS: u64 = 64 << 10;
/// Longest wait for the last words of a daemon that has ended: nobody else holds their connection.
const WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// How daemons are started.
pub struct Program {
    pub variables: Vec<(OsString, OsString)>,
    /// Directory for their sockets, of this user alone.
    pub directory: PathBuf,
}

/// A daemon that runs.
pub struct DaemonProcess {
    pub name: TailnetName,
    pub pid: Pid,
    /// Path of the socket at which it is asked.
    pub socket: PathBuf,
    child: Child,
    words: OwnedReadHalf,
}

/// A daemon that has ended.
pub struct Ended {
    pub name: TailnetName,
    pub pid: Pid,
    status: io::Result<ExitStatus>,
    /// Its reason; empty where it gave none.
    words: String,
}

/// Starts the daemon of the tailnet `name`, which no other has the `number` of. Needs the event loop, in a thread that lives as long as the daemon is to.
pub fn start(program: &Program, number: usize, name: &TailnetName, handover: Handover) -> io::Result<DaemonProcess> {
    // Not by the name: a socket's path has 107 bytes at most.
    let socket = program.directory.join(number.to_string());
    let listener = UnixListener::bind(&socket)?;
    // It waits in the backlog, so that the daemon finds it whatever becomes of this process.
    let connection = StdStream::connect(&socket)?;
    connection.set_nonblocking(true)?;
    let (words, mut settings) = UnixStream::from_std(connection)?.into_split();
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let mut command = Command::new(OWN_PROGRAM);
    command
        .arg0("tetherd")
        .args(["run", "--tailnet", name.as_str()])
        .arg(format!("--{SUPERVISED}={}", listener.as_raw_fd()))
        .env_clear()
        .envs(program.variables.iter().map(|(name, value)| (name, value)))
        // A key at the terminal is for the supervisor, which passes it on.
        .process_group(0);
    let child = command.spawn()?;
    drop(listener);
    let pid = child.id().and_then(|pid| pid.try_into().ok()).map(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("it ended at once"))?;
    tokio::spawn(async move {
        // A daemon that has ended before tells why by its exit code.
        let _ = settings.write_all(&handover.to_bytes()).await;
        let _ = settings.shutdown().await;
    });
    Ok(DaemonProcess { name: name.clone(), pid, socket, child, words })
}

impl DaemonProcess {
    /// Waits until it has ended.
    pub async fn ended(self) -> Ended {
        let Self { name, pid, mut child, words, .. } = self;
        let status = child.wait().await;
        let mut text = Vec::new();
        let _ = timeout(WORDS_TIMEOUT, words.take(LONGEST_WORDS).read_to_end(&mut text)).await;
        Ended { name, pid, status, words: String::from_utf8_lossy(&text).trim().to_owned() }
    }
}

impl Ended {
    /// Returns why it has failed; `None` where it has not. `was_asked` tells whether it was asked to stop.
    pub fn failure(&self, was_asked: bool) -> Option<ExitReason> {
        let (code, told) = match &self.status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(0), _) => return None,
                (Some(code), _) => {
                    (code, format!("its daemon ended with exit code {code}; its lines in the log say why"))
                }
                // One that has not caught signals yet has nothing to do for a stop.
                (None, Some(signal)) if was_asked && signal != Signal::SIGKILL as i32 => return None,
                (None, Some(signal)) => (128 + signal, killed(signal)),
                (None, None) => (1, "its daemon ended, and nobody knows how".to_owned()),
            },
            Err(error) => (1, format!("its daemon cannot be waited for: {error}")),
        };
        let reason = if self.words.is_empty() { told } else { self.words.clone() };
        Some(ExitReason::OfTailnet { name: self.name.to_string(), reason, code: code.try_into().unwrap_or(1) })
    }
}

fn killed(signal: i32) -> String {
    let name = Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string());
    let hint = if signal == Signal::SIGKILL as i32 { "; look for a lack of memory" } else { "" };
    format!("its daemon was killed by {name}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_failure_unless_it_is_clean_or_asked_for_before_the_daemon_could_hear() {
        let ended = |raw: i32, words: &str| Ended {
            name: TailnetName::parse("office").expect("a name"),
            pid: Pid::from_raw(7),
            status: Ok(ExitStatus::from_raw(raw)),
            words: words.to_owned(),
        };
        for (raw, words, was_asked, expected) in [
            (0, "", false, None),
            (77 << 8, "the key was refused", false, Some((77, "tailnet office: the key was refused"))),
            (77 << 8, "the key was refused", true, Some((77, "tailnet office: the key was refused"))),
            (9, "", true, Some((137, "tailnet office: its daemon was killed by SIGKILL; look for a lack of memory"))),
            (15, "", true, None),
            (15, "", false, Some((143, "tailnet office: its daemon was killed by SIGTERM"))),
        ] {
            let failure = ended(raw, words).failure(was_asked);
            let found = failure.as_ref().map(|reason| (reason.exit_code(), reason.to_string()));
            assert_eq!(found, expected.map(|(code, text)| (code, text.to_owned())), "{raw} {was_asked}");
        }
    }
}
