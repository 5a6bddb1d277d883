//! Gets the privilege to make network namespaces.
//!
//! root has it; anyone else becomes root of a user namespace first.

use std::env;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, unshare};

/// Set in the program that runs under `unshare` already, which must not try again.
const MARK: &str = "TESTBED_UNSHARED";

const REFUSED: &str = "this user may make no network namespace: run it as root, or allow user namespaces \
    (`sysctl -w kernel.unprivileged_userns_clone=1`, on Ubuntu also \
    `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; in a container `--privileged`)";

/// Returns when the right is there; where it is not, runs the program again, in place, under `unshare -Ur`.
/// To be called before threads and files are made.
pub fn obtain() -> Result<()> {
    if has_it()? {
        return Ok(());
    }
    if env::var_os(MARK).is_some() {
        bail!(REFUSED);
    }
    let probe = Command::new("unshare").args(["-Urn", "true"]).stderr(Stdio::null()).status();
    match probe {
        Ok(status) if status.success() => {}
        Ok(_) => bail!(REFUSED),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("the program `unshare` is missing: `apt-get install util-linux`")
        }
        Err(error) => return Err(error).context("cannot run `unshare`"),
    }
    let program = env::current_exe().context("cannot find this program's file")?;
    let error =
        Command::new("unshare").args(["-Ur", "--"]).arg(program).args(env::args_os().skip(1)).env(MARK, "1").exec();
    Err(error).context("cannot run this program again under `unshare -Ur`")
}

/// Tried out on a thread of its own, which takes the namespace with it: capabilities alone do not tell.
fn has_it() -> Result<bool> {
    thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET).is_ok()).join().map_err(|_| anyhow!("a thread panicked"))
}
