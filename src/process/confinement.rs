//! Confines tailscaled: no new privileges, few capabilities, Landlock, seccomp.
//!
//! Whoever takes tailscaled over from the network gets less than this user has: no file is written outside its own directories,
//! no other process is traced, signalled or looked into. What the kernel lacks is left out, and [`measures_of`] says what is
//! there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, Scope,
};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use tokio::process::Command;

/// The newest kernel interface that is asked for; an older kernel does what it can.
const LANDLOCK: ABI = ABI::V6;

/// Capabilities of root that tailscaled keeps: those by which it writes into a directory of another user. It opens no interface.
/// Without CAP_NET_ADMIN its UDP buffers are no larger than `net.core.rmem_max` says, as for any other user.
const KEPT_CAPABILITIES: [i32; 3] = [CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER];
// linux/capability.h
const CAP_CHOWN: i32 = 0;
const CAP_DAC_OVERRIDE: i32 = 1;
const CAP_FOWNER: i32 = 3;
const MOST_CAPABILITIES: i32 = 63;

/// Added to the badness by which the kernel chooses a victim when memory is short (proc_pid_oom_score_adj(5)): tailscaled goes
/// before the application beside it, and is started again.
const OOM_SCORE: &str = "500";

/// Flags of clone(2) that make a namespace.
const NEW_NAMESPACE: [i32; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Bit of the number of a call by which a program of x86_64 says that it is one of the x32 ABI: every call once more.
const X32: i64 = 0x4000_0000;

/// System calls that a proxy has no use for, and that reach other processes, the kernel or namespaces. They fail with EPERM.
const REFUSED: [i64; 48] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
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
    libc::SYS_kexec_file_load,
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
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// What a child may not do, put together before it is started.
pub struct Confinement {
    landlock: Option<RulesetCreated>,
    seccomp: Vec<BpfProgram>,
}

impl Confinement {
    /// Puts the confinement together for a program that writes into `writable` directories alone.
    pub fn new(writable: &[&Path]) -> Self {
        Self {
            landlock: ruleset(writable).inspect_err(|error| tracing::debug!(%error, "no Landlock")).ok(),
            seccomp: filters().inspect_err(|error| tracing::debug!(%error, "no seccomp filter")).unwrap_or_default(),
        }
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
                if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                    return Ok(());
                }
                if let Some(ruleset) = landlock.take() {
                    let _ = ruleset.restrict_self();
                }
                for filter in &seccomp {
                    let _ = seccompiler::apply_filter(filter);
                }
                Ok(())
            });
        }
    }
}

/// Names what confines the process `pid`, which was started by [`Confinement::apply_to`] and runs its program: as the kernel
/// shows it, and for Landlock, which it does not show, as far as it has it.
pub fn measures_of(pid: i32) -> Vec<&'static str> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let has = |line: &str| status.lines().any(|found| found.split_whitespace().eq(line.split(' ')));
    let version = landlock_version();
    [
        (has("NoNewPrivs: 1"), "no_new_privs"),
        (version >= 1, "landlock"),
        // Of signals and abstract sockets, too.
        (version >= 6, "landlock_scope"),
        (has("Seccomp: 2"), "seccomp"),
    ]
    .into_iter()
    .filter_map(|(is_there, name)| is_there.then_some(name))
    .collect()
}

/// Returns the version of Landlock's interface; 0 where the kernel has none.
#[allow(unsafe_code)]
fn landlock_version() -> i64 {
    const VERSION: libc::c_long = 1;
    // SAFETY: with this flag the call reads no memory (landlock_create_ruleset(2)).
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0, VERSION) }.max(0)
}

/// Raises the OOM score of the process `pid`, a child of this user: raising it needs no privilege. (The child cannot do so
/// itself before it executes its program: as long as it has this process's memory its /proc files are root's.)
pub fn make_first_victim(pid: i32) {
    if let Err(error) = fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE) {
        tracing::debug!(%error, "tailscaled's OOM score stays as it is");
    }
}

/// Whether the file is a binary, and not a script, which may start any program.
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

/// Builds the filters: one that refuses, and one by which clone3(2), whose flags no filter can see, is not there. Programs fall
/// back to clone(2) then.
fn filters() -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.into_iter().map(|call| (call, Vec::new())).collect();
    let namespaces = NEW_NAMESPACE.map(|flag| {
        let flag = flag.unsigned_abs().into();
        let is_set = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(flag), flag)?;
        SeccompRule::new(vec![is_set])
    });
    refused.insert(libc::SYS_clone, namespaces.into_iter().collect::<Result<_, _>>()?);
    if cfg!(target_arch = "x86_64") {
        refused.extend(refused.clone().into_iter().map(|(call, rules)| (call | X32, rules)));
    }
    Ok(vec![filter(refused, libc::EPERM)?, filter(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)?])
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refusal = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch)?.try_into()
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
