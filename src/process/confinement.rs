//! Confines tailscaled: no new privileges, few capabilities, Landlock, seccomp.
//!
//! Whoever takes tailscaled over from the network gets less than this user has: no file is written outside its own directories,
//! no other process is traced, signalled or looked into. What the kernel lacks is left out, and [`Confinement::measures`] says
//! what is there.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope,
};
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use tokio::process::Command;

/// The newest kernel interface that is asked for; an older kernel does what it can.
const LANDLOCK: ABI = ABI::V6;

/// Capabilities of root that tailscaled keeps: those by which it writes into a directory of another user. It opens no
/// interface, so it needs none of the others.
const KEPT_CAPABILITIES: [i32; 3] = [CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER];
// linux/capability.h
const CAP_CHOWN: i32 = 0;
const CAP_DAC_OVERRIDE: i32 = 1;
const CAP_FOWNER: i32 = 3;
const MOST_CAPABILITIES: i32 = 63;

/// Added to the badness by which the kernel chooses a victim when memory is short (proc_pid_oom_score_adj(5)): tailscaled goes
/// before the application beside it, and is started again.
const OOM_SCORE: &str = "500";

/// System calls that a proxy has no use for, and that reach other processes, the kernel or namespaces. They fail with EPERM.
const REFUSED: [i64; 44] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// What a child may not do, put together before it is started.
pub struct Confinement {
    landlock: Option<RulesetCreated>,
    seccomp: Option<BpfProgram>,
}

impl Confinement {
    /// Puts the confinement together for a program that writes into `writable` directories alone.
    pub fn new(writable: &[&Path]) -> Self {
        Self {
            landlock: ruleset(writable).inspect_err(|error| tracing::debug!(%error, "no Landlock")).ok(),
            seccomp: filter().inspect_err(|error| tracing::debug!(%error, "no seccomp filter")).ok(),
        }
    }

    /// Names the measures that this kernel has.
    pub fn measures(&self) -> Vec<&'static str> {
        let landlock = self.landlock.is_some().then_some("landlock");
        let seccomp = self.seccomp.is_some().then_some("seccomp");
        ["no_new_privs"].into_iter().chain(landlock).chain(seccomp).collect()
    }

    /// Has the child confine itself before it executes its program.
    #[allow(unsafe_code)]
    pub fn apply_to(self, command: &mut Command) {
        let Self { mut landlock, seccomp } = self;
        // SAFETY: between fork and exec only async-signal-safe calls are allowed. These are system calls on memory that was
        // put together before; glibc and musl keep their allocator usable in the child, which an error of Landlock needs.
        unsafe {
            command.pre_exec(move || {
                libc::umask(0o077);
                drop_capabilities();
                become_first_victim();
                if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                    return Ok(());
                }
                if let Some(ruleset) = landlock.take() {
                    let _ = ruleset.restrict_self();
                }
                if let Some(filter) = &seccomp {
                    let _ = seccompiler::apply_filter(filter);
                }
                Ok(())
            });
        }
    }
}

/// Whether the file is a program of the machine's own, and no script: that one may start anything.
pub fn is_binary(program: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(program).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

fn ruleset(writable: &[&Path]) -> Result<RulesetCreated, RulesetError> {
    let writes = AccessFs::from_write(LANDLOCK);
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writes)?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    for path in writable {
        if let Ok(directory) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(directory, writes))?;
        }
    }
    if let Ok(null) = PathFd::new("/dev/null") {
        ruleset = ruleset.add_rule(PathBeneath::new(null, AccessFs::WriteFile | AccessFs::Truncate))?;
    }
    Ok(ruleset)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let refused = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let errno = u32::try_from(libc::EPERM).unwrap_or(1);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(refused, SeccompAction::Allow, SeccompAction::Errno(errno), arch)?.try_into()
}

/// Drops all but [`KEPT_CAPABILITIES`] from what any later program can have. Without the right to do so there is nothing to
/// drop.
#[allow(unsafe_code)]
fn drop_capabilities() {
    for capability in (0..=MOST_CAPABILITIES).filter(|capability| !KEPT_CAPABILITIES.contains(capability)) {
        // SAFETY: prctl with numbers alone.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

/// Raises the OOM score; lowering it would need a privilege, raising it needs none.
#[allow(unsafe_code)]
fn become_first_victim() {
    // SAFETY: the path and the text are static and end with a zero byte or have a length.
    unsafe {
        let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file >= 0 {
            libc::write(file, OOM_SCORE.as_ptr().cast(), OOM_SCORE.len());
            libc::close(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has a confined shell try something.
    async fn succeeds(writable: &Path, script: &str) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).kill_on_drop(true);
        Confinement::new(&[writable]).apply_to(&mut command);
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
            ("[ \"$(umask)\" = 0077 ] && [ \"$(cat /proc/self/oom_score_adj)\" -ge 500 ]".to_owned(), true),
            (format!("echo text > {victim}"), false),
            (format!("rm {victim}"), false),
            (format!("ln -s /etc {}/link", other.path().display()), false),
            ("unshare --user true".to_owned(), false),
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
