//! Tests OpenSSH through `nc -X 5` to an sshd on the second node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::scene::{Scene, assert_printed, report};

/// Below 1024 only root may listen.
const PORT: u16 = 2222;

/// Without PAM, utmp or anything else of the machine's own configuration.
fn sshd_config(directory: &Path) -> String {
    let at = directory.display();
    format!(
        "ListenAddress 127.0.0.1:{PORT}\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nPrintMotd no\n"
    )
}

/// The user's own configuration, which the documented line need not repeat: who, with which key, whom to trust.
fn ssh_config(directory: &Path) -> String {
    let at = directory.display();
    let user = as_user("id").arg("-un").output().expect("coreutils are there");
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    format!(
        "Port {PORT}\nUser {user}\nIdentityFile {at}/user\nIdentitiesOnly yes\n\
         UserKnownHostsFile {at}/known_hosts\nGlobalKnownHostsFile none\n\
         StrictHostKeyChecking yes\nBatchMode yes\n"
    )
}

fn make_keys(directory: &Path) {
    for name in ["host", "user"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(directory.join(name));
        assert!(keygen.status().expect("ssh-keygen; without it, run `make test`").success());
    }
    let host = fs::read_to_string(directory.join("host.pub")).expect("a key");
    fs::write(directory.join("known_hosts"), format!("[web]:{PORT} {host}")).expect("written");
}

/// A command of the user who runs the test, where that is not root: in the user namespace that the test got instead of
/// root's rights sshd would see user 0, and fail to become the unprivileged half that it wants to be. As any other user
/// it does without.
fn as_user(program: &str) -> Command {
    let map = fs::read_to_string("/proc/self/uid_map").expect("proc is there");
    // Inside, outside, how many: a container that maps a whole range has all that sshd wants.
    let map: Vec<&str> = map.split_whitespace().collect();
    let [_, user, "1"] = map[..] else {
        return Command::new(program);
    };
    let mut command = Command::new("unshare");
    command.args(["--user", &format!("--map-user={user}"), "--", program]);
    command
}

/// By its whole path, which it starts itself anew by for each connection.
fn sshd(directory: &Path) -> Command {
    // Root's sshd locks its unprivileged half up in it; the package's service would make it.
    let _ = fs::create_dir_all("/run/sshd");
    let mut sshd = as_user("/usr/sbin/sshd");
    sshd.args(["-D", "-e", "-f"]).arg(directory.join("sshd_config"));
    sshd
}

#[test]
fn openssh_through_nc_reaches_sshd_by_name() {
    let mut scene = Scene::node("web");
    let directory = scene.path("");
    make_keys(&directory);
    fs::write(directory.join("sshd_config"), sshd_config(&directory)).expect("written");
    fs::write(directory.join("ssh_config"), ssh_config(&directory)).expect("written");
    // ssh looks for its files in the home directory of the password database, whatever HOME says.
    let wrapper = scene.path("bin/ssh");
    let script = format!("#!/bin/sh\nexec /usr/bin/ssh -F {}/ssh_config \"$@\"\n", directory.display());
    fs::write(&wrapper, script).expect("written");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("executable");
    scene.serve(sshd(&directory), PORT);
    let scene = scene.ready();
    assert_printed("ssh", &scene.run("ssh"), &[report()]);
}
