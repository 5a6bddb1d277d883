//! Confines a process: no new privileges, few capabilities, Landlock, seccomp.
//!
//! Whoever takes tetherd or tailscaled over from the network gets less than this user has: no file is written outside their
//! own places, no other process is traced, signalled or looked into. What the kernel lacks is left out, and
//! [`measures_of`] says what is there.

mod capabilities;
mod system_calls;
mod writable;

use std::fs::{self, File};
use std::io;
use std::io::{ErrorKind, Read};
use std::path::Path;

use landlock::{RulesetCreated, RulesetStatus};
use nix::libc;
use nix::sys::stat::{Mode, umask};
use seccompiler::BpfProgram;
use tokio::process::Command;

pub use crate::process::confinement::writable::{Writable, landlock_version};

use crate::process::confinement::capabilities::drop_from_bounding_set;
use crate::process::confinement::system_calls::filters;
use crate::process::confinement::writable::ruleset;

/// Name of what filters system calls, among those that [`measures_of`] returns.
pub const SECCOMP: &str = "seccomp";

/// What a process may not do, put together before that takes effect.
pub struct Confinement {
    landlock: Option<RulesetCreated>,
    seccomp: Vec<BpfProgram>,
}

impl Confinement {
    /// Puts the confinement together for a process that writes `writable` alone.
    pub fn new(writable: &[Writable]) -> Self {
        Self {
            landlock: ruleset(writable).inspect_err(|error| tracing::debug!(%error, "no Landlock")).ok(),
            seccomp: filters().inspect_err(|error| tracing::debug!(%error, "no seccomp filter")).unwrap_or_default(),
        }
    }

    /// Leaves the filter of system calls out, for the child of a process that has it: children inherit it.
    pub fn without_filter(self) -> Self {
        Self { seccomp: Vec::new(), ..self }
    }

    /// Makes the same confinement for another thread.
    ///
    /// # Errors
    /// When no more files can be opened.
    pub fn try_clone(&self) -> io::Result<Self> {
        let landlock = self.landlock.as_ref().map(RulesetCreated::try_clone).transpose()?;
        Ok(Self { landlock, seccomp: self.seccomp.clone() })
    }

    /// Has the child confine itself before it executes its program.
    #[allow(unsafe_code)]
    pub fn apply_to(mut self, command: &mut Command) {
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. These are system calls on memory that was
        // put together before; glibc and musl keep their allocator usable in the child, which an error of Landlock needs.
        unsafe {
            command.pre_exec(move || {
                keep_new_files_private();
                self.restrict_thread();
                Ok(())
            });
        }
    }

    /// Confines the calling thread, and what it starts from then on. Returns the names of what is in force for the process,
    /// whose first thread this is to be.
    pub fn confine_process(mut self) -> Vec<&'static str> {
        let has_landlock = self.restrict_thread();
        let mut measures = measures_of(nix::unistd::getpid().as_raw());
        measures.retain(|name| has_landlock || !name.starts_with("landlock"));
        measures
    }

    /// Confines the calling thread, another one than the first.
    pub fn confine_thread(mut self) {
        self.restrict_thread();
    }

    /// Puts all of it into force. Returns whether Landlock is among it.
    #[allow(unsafe_code)]
    fn restrict_thread(&mut self) -> bool {
        drop_from_bounding_set();
        // SAFETY: prctl with numbers alone.
        if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
            return false;
        }
        let restricted = self.landlock.take().and_then(|ruleset| ruleset.restrict_self().ok());
        for filter in &self.seccomp {
            let _ = seccompiler::apply_filter(filter);
        }
        restricted.is_some_and(|status| status.ruleset != RulesetStatus::NotEnforced)
    }
}

/// Has this process make files for its user alone.
pub fn keep_new_files_private() {
    umask(Mode::from_bits_truncate(0o077));
}

/// Names what confines the process `pid`, one that a [`Confinement`] is in force for: as the kernel shows it, and for Landlock,
/// which it does not show, as far as it has it.
pub fn measures_of(pid: i32) -> Vec<&'static str> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let has = |line: &str| status.lines().any(|found| found.split_whitespace().eq(line.split(' ')));
    let version = landlock_version();
    [
        (has("NoNewPrivs: 1"), "no_new_privs"),
        (version >= 1, "landlock"),
        // Of signals and abstract sockets, too.
        (version >= 6, "landlock_scope"),
        (has("Seccomp: 2"), SECCOMP),
    ]
    .into_iter()
    .filter_map(|(is_there, name)| is_there.then_some(name))
    .collect()
}

/// Whether the file is a binary, and not a script, which may start any program. One that this user may not read, as those of the
/// image are, is no script: its interpreter could not read it either.
pub fn is_binary(program: &Path) -> bool {
    let mut magic = [0; 4];
    match File::open(program) {
        Ok(mut file) => file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF",
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that ends with success when `code` does, which may call clone(2) with flags.
    fn python(code: &str) -> String {
        let clone = format!(
            "clone = lambda flags: (lambda pid: os._exit(0) if pid == 0 else pid > 0 or sys.exit(1))\
             (ctypes.CDLL(None).syscall({}, flags, 0, 0, 0, 0))",
            libc::SYS_clone
        );
        format!("python3 -c 'import ctypes, os, sys; {clone}; {code}'")
    }

    /// Has a confined shell try something.
    async fn succeeds(writable: &Path, script: &str) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).kill_on_drop(true);
        Confinement::new(&[Writable::Directory(writable.to_owned())]).apply_to(&mut command);
        command.output().await.expect("runs").status.success()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_confined_program_writes_and_reaches_nothing_that_is_not_its_own() {
        let own = tempfile::tempdir().expect("a directory");
        let other = tempfile::tempdir().expect("a directory");
        let victim = other.path().join("kept");
        std::fs::write(&victim, "kept").expect("written");
        let (inside, victim) = (own.path().display(), victim.display());
        for (script, works) in [
            (format!("echo text > {inside}/file && mv {inside}/file {inside}/moved && rm {inside}/moved"), true),
            (format!("cat {victim} > /dev/null"), true),
            ("grep -q '^NoNewPrivs:.1' /proc/self/status && grep -q '^Seccomp:.2' /proc/self/status".to_owned(), true),
            ("[ \"$(umask)\" = 0077 ]".to_owned(), true),
            (format!("echo text > {victim}"), false),
            (format!("rm {victim}"), false),
            (format!("ln -s /etc {}/link", other.path().display()), false),
            ("unshare --user true".to_owned(), false),
            (python("os.fork() or os._exit(0); os.wait()"), true),
            (python(&format!("clone({}|17)", libc::CLONE_NEWUSER)), false),
            (python("clone(17)"), true),
            (format!("kill -0 {}", std::process::id()), false),
        ] {
            assert_eq!(succeeds(own.path(), &script).await, works, "{script}");
        }
        assert_eq!(std::fs::read_to_string(other.path().join("kept")).expect("is there"), "kept");
    }

    #[test]
    fn a_script_is_no_binary() {
        assert!(is_binary(Path::new("/proc/self/exe")));
        let script = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(script.path(), "#!/bin/sh\n").expect("written");
        assert!(!is_binary(script.path()) && !is_binary(Path::new("/nowhere")));
    }
}
