//! The LocalAPI's socket: connects, and makes sure that tailscaled listens.
//!
//! Whoever may write to the socket's directory can put a socket of their own in its place, and would be sent the auth key.
//! The kernel knows who listens (`SO_PEERCRED`, unix(7)): its process and user are compared before a byte is sent.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::unistd::{Pid, geteuid, getpgid, getpid};
use tokio::net::UnixStream;

use crate::net::socket_file;
use crate::process::lineage::{Lineage, descends_from, lineage_of};

/// The socket of one LocalAPI. Clones share what is known of the process that listens.
#[derive(Clone, Debug)]
pub struct LocalApiSocket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: Box<Path>,
    /// Another path that the socket gets once it is closed to strangers.
    published: Option<Box<Path>>,
    /// Process id of tailscaled, which leads a group; 0 before its first start.
    server: AtomicI32,
    /// Whether a stranger was warned of since tailscaled's latest start.
    warned: AtomicBool,
    /// Whether the mode was set since tailscaled's latest start.
    is_restricted: AtomicBool,
}

/// Process id and user of the process that listens, as the kernel tells them. The id is 0 for a process of another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcessIdentity {
    pid: i32,
    uid: u32,
}

impl LocalApiSocket {
    /// The socket at `path`, where tailscaled listens now or later; `published` is another path that it is to have.
    pub fn new(path: &Path, published: Option<&Path>) -> Self {
        Self(Arc::new(Inner {
            path: path.into(),
            published: published.map(Into::into),
            server: AtomicI32::new(0),
            warned: AtomicBool::new(false),
            is_restricted: AtomicBool::new(false),
        }))
    }

    /// Expects the process `server`, one of its group or one of its descendants, to listen from now on.
    pub fn expect(&self, server: Pid) {
        self.0.server.store(server.as_raw(), Ordering::Release);
        self.0.warned.store(false, Ordering::Release);
        self.0.is_restricted.store(false, Ordering::Release);
    }

    /// Closes the socket to all but owner and group, and gives it the path where it is wanted, once for each start of tailscaled, which opens it to everybody: whoever
    /// connects may dial into the tailnet, without password and rules. To be called when tailscaled has answered: it sets
    /// the mode itself between listening and answering.
    pub fn restrict(&self) {
        if self.0.is_restricted.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = socket_file::restrict(&self.0.path) {
            tracing::warn!(%error, path = %self.0.path.display(), "tailscaled's socket stays open to every user");
            return;
        }
        if let Some(at) = &self.0.published
            && let Err(error) = socket_file::publish(&self.0.path, at)
        {
            let hint = "programs find it at its own path; choose another tailscaled_socket";
            tracing::warn!(%error, path = %self.0.path.display(), wanted = %at.display(), "tailscaled's socket: {hint}");
        }
    }

    /// Returns the socket's path.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Connects to the socket.
    ///
    /// # Errors
    /// `PermissionDenied` when a process listens that is not the expected tailscaled; those of the connection.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&*self.0.path).await?;
        let found = stream.peer_cred()?;
        let peer = ProcessIdentity { pid: found.pid().unwrap_or(0), uid: found.uid() };
        let own = ProcessIdentity { pid: getpid().as_raw(), uid: geteuid().as_raw() };
        let server = self.0.server.load(Ordering::Acquire);
        if is_expected(peer, own, server, group_of) || descends(peer, server, lineage_of) {
            return Ok(stream);
        }
        let problem = format!(
            "process {} of user {} listens at {}, and is not this daemon's tailscaled: it is not spoken to; set \
             tailscaled_socket to a directory that nobody else may write to",
            peer.pid,
            peer.uid,
            self.0.path.display()
        );
        if !self.0.warned.swap(true, Ordering::AcqRel) {
            tracing::warn!("{problem}");
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
    }
}

/// Whether `peer` is the tailscaled that was started as process `server`. `group` finds the group of a process.
///
/// The process alone does not do: its number may have been another's, who listened and has ended. Nor does the user: others
/// run programs as the same user, such as `exec`; and users of other namespaces may all be shown as one (user_namespaces(7)).
fn is_expected(peer: ProcessIdentity, own: ProcessIdentity, server: i32, group: impl Fn(i32) -> Option<i32>) -> bool {
    // Root of this namespace may trace this process anyway.
    let is_trusted_user = peer.uid == own.uid || peer.uid == 0;
    // gVisor tells each process of itself here.
    let is_server = peer.pid == own.pid || peer.pid == server || group(peer.pid) == Some(server);
    is_trusted_user && is_server && peer.pid != 0
}

/// Whether `peer` is the process `server` or one that descends from it, as whichever user: a script may start tailscaled in a
/// session of its own, or as another user. It must run still, as the user who listened: else its number may have been
/// another's. Nobody else descends from a tailscaled: it starts no programs of others.
fn descends(peer: ProcessIdentity, server: i32, lineage: impl Fn(i32) -> Option<Lineage>) -> bool {
    server > 0
        && peer.pid > 0
        && lineage(peer.pid).is_some_and(|found| found.uid == peer.uid)
        && descends_from(peer.pid, server, lineage)
}

/// The process group of `pid`; `None` when there is no such process.
fn group_of(pid: i32) -> Option<i32> {
    // For 0 the kernel would tell that of the caller.
    let pid = (pid > 0).then(|| Pid::from_raw(pid))?;
    getpgid(Some(pid)).ok().map(Pid::as_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::lineage::descendants_of;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    const NOBODY: u32 = 65_534;
    const LISTENER: &str =
        "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)";

    #[test]
    fn only_the_tailscaled_that_was_started_is_expected() {
        let own = ProcessIdentity { pid: 10, uid: 1000 };
        let group = |pid| match pid {
            20 | 21 => Some(20),
            30 => Some(30),
            _ => None,
        };
        for (pid, uid, server, expected, what) in [
            (20, 1000, 20, true, "tailscaled"),
            (21, 1000, 20, true, "tailscaled below a script"),
            (20, 0, 20, true, "tailscaled of root"),
            (10, 1000, 20, true, "gVisor's answer"),
            (10, 1000, 0, true, "this process"),
            (20, 1001, 20, false, "another user who had the number"),
            (10, 1001, 20, false, "another user who had this process's number"),
            (30, 1000, 20, false, "a command of exec"),
            (31, 1000, 20, false, "a process that has ended"),
            (0, 1000, 20, false, "a process of another container"),
            (0, 0, 20, false, "root of another container"),
            (0, 1000, 0, false, "another container before the start"),
            (30, 1000, 0, false, "anybody before the start"),
            (31, 1000, 0, false, "a process that has ended, before the start"),
            (30, 0, 20, false, "any program of root's"),
        ] {
            assert_eq!(is_expected(ProcessIdentity { pid, uid }, own, server, group), expected, "{what}");
        }
        let own = ProcessIdentity { pid: 10, uid: NOBODY };
        assert!(!is_expected(ProcessIdentity { pid: 0, uid: NOBODY }, own, 20, group), "a user without a name here");
    }

    #[test]
    fn descendants_of_tailscaled_are_expected_while_they_run_as_who_has_listened() {
        let lineage = |pid| match pid {
            20 => Some(Lineage { parent: 10, uid: 0 }),
            21 => Some(Lineage { parent: 20, uid: 1000 }),
            22 => Some(Lineage { parent: 21, uid: 1000 }),
            30 => Some(Lineage { parent: 10, uid: 0 }),
            _ => None,
        };
        for (pid, uid, server, expected, what) in [
            (20, 0, 20, true, "tailscaled"),
            (21, 1000, 20, true, "tailscaled as another user"),
            (22, 1000, 20, true, "a child of that"),
            (20, 1001, 20, false, "a stranger who had tailscaled's number"),
            (21, 1001, 20, false, "a stranger who had the number of its child"),
            (30, 0, 20, false, "a command of exec"),
            (31, 0, 20, false, "a process that has ended"),
            (0, 0, 20, false, "a process of another container"),
            (0, 0, 0, false, "another container before the start"),
            (21, 1000, 0, false, "anybody before the start"),
        ] {
            assert_eq!(descends(ProcessIdentity { pid, uid }, server, lineage), expected, "{what}");
        }
    }

    /// Starts a process in a group of its own that listens at `path`.
    fn listening(path: &Path, script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", LISTENER]).arg(path).stdin(Stdio::null()).process_group(0);
        command.spawn().expect("starts")
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_listener_is_known_by_its_process_group_or_ancestor() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).expect("open to all");
        let as_another_user =
            "PATH=/usr/bin:/bin setpriv --reuid=4242 --regid=4242 --clear-groups python3 -c \"$1\" \"$2\"; true";
        let of_root = geteuid().is_root().then_some(("d", as_another_user));
        let of_everybody = [
            ("a", "exec python3 -c \"$1\" \"$2\""),
            ("b", "python3 -c \"$1\" \"$2\"; true"),
            ("c", "setsid --fork --wait python3 -c \"$1\" \"$2\"; true"),
        ];
        for (name, script) in of_everybody.into_iter().chain(of_root) {
            let path = directory.path().join(name);
            let mut child = listening(&path, script);
            let socket = LocalApiSocket::new(&path, None);
            socket.expect(Pid::from_raw(i32::try_from(child.id()).expect("an id")));
            let connected = async {
                while let Err(error) = socket.connect().await {
                    assert_ne!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(20), connected).await.expect(script);
            // Any process that is none of the group, and no ancestor.
            let mut other = Command::new("sleep").arg("60").spawn().expect("starts");
            socket.expect(Pid::from_raw(other.id() as i32));
            let error = socket.connect().await.expect_err("is another's");
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(error.to_string().contains("is not this daemon's tailscaled"), "{error}");
            let leader = Pid::from_raw(child.id() as i32);
            for pid in descendants_of(leader).into_iter().chain([leader, Pid::from_raw(other.id() as i32)]) {
                nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).expect("killed");
            }
            other.wait().expect("ended");
            child.wait().expect("ended");
        }
    }
}
