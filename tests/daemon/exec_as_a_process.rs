//! Tests `exec` among processes: signals, a terminal, process 1.
//!
//! It covers, too, what a program expects of the process that starts it.

use std::fs::{self, File};
use std::io::Write;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use testbed::daemon::Daemon;
use testbed::descendants;
use testbed::wait::wait_until;

use crate::exec_and_env::{assert_logged_out, end_of, exec, exec_sh, listening, wait_written};
use crate::scene::{END, READY, Scene, binary};

/// The process below the daemon's that has this name.
fn named(daemon: &Daemon, name: &str) -> i32 {
    let entry = descendants::below(daemon.pid()).into_iter().find(|entry| entry.name == name);
    entry.unwrap_or_else(|| panic!("no {name} runs: {}", daemon.output())).pid
}

#[test]
fn exec_passes_every_signal_on_in_order_and_a_second_sigterm_too() {
    let scene = Scene::new();
    let again = "trap 'kill $child; exit 6' TERM; echo stopping; while kill -0 $child; do wait; done";
    let mut daemon = exec_sh(&scene, &listening(again)).start().expect("starts");
    wait_written(&daemon, "runs");
    for (signal, line) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGWINCH, "WINCH"),
        (Signal::SIGINT, "INT 1"),
        (Signal::SIGINT, "INT 2"),
        (Signal::SIGTERM, "stopping"),
    ] {
        daemon.signal(signal).expect("signal");
        wait_written(&daemon, line);
    }
    assert_eq!(daemon.readyz().expect("answers").0, 200, "the daemon serves");
    daemon.terminate().expect("a second SIGTERM");
    assert_eq!(end_of(&mut daemon).0, Some(6), "{}", daemon.output());
    assert_logged_out(&scene);
}

/// How many SIGINTs the log says this of: the command cannot tell two from one when they come at once, the log can.
fn told(daemon: &Daemon, what: &str) -> usize {
    daemon.stdout().lines().filter(|line| line.contains(what) && line.contains("INT")).count()
}

#[test]
fn exec_leaves_a_key_at_the_terminal_to_the_terminal() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().expect("directory");
    let (keys, script) = (directory.path().join("keys"), directory.path().join("script"));
    fs::write(&script, listening("echo \"INT in all: $count\"")).expect("written");
    mkfifo(&keys, Mode::S_IRWXU).expect("a pipe");
    // Opened both ways, it neither waits for the other side nor ends without it.
    let mut keyboard = File::options().read(true).write(true).open(&keys).expect("opens");
    let inner = format!("stty -echo; exec {} exec -- sh {}", binary().display(), script.display());
    let outer = r#"exec script --quiet --return --flush --command "$0" /dev/null < "$1""#;
    let builder = scene.daemon().program("sh").args(&["-c", outer, &inner, keys.to_str().expect("UTF-8")]);
    let mut daemon = builder.env("TETHERD_LOG_LEVEL", "debug").start().expect("starts");
    wait_written(&daemon, "runs");
    for (count, line) in [(1, "INT 1"), (2, "INT 2"), (3, "INT 3")] {
        keyboard.write_all(b"\x03").expect("Ctrl-C");
        wait_written(&daemon, line);
        // The kernel makes one of two signals that a process has not yet taken: the next key waits for the daemon, too.
        let heard = || (told(&daemon, "the terminal has told") == count).then_some(());
        wait_until("the daemon hears the key", READY, heard)
            .unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
    }
    kill(Pid::from_raw(named(&daemon, "tetherd")), Signal::SIGTERM).expect("SIGTERM");
    assert_eq!(end_of(&mut daemon).0, Some(5), "{}", daemon.output());
    assert!(daemon.stdout().contains("INT in all: 3"), "{}", daemon.output());
    assert_eq!((told(&daemon, "the terminal has told"), told(&daemon, "passed on")), (3, 0), "{}", daemon.output());
}

#[test]
fn exec_takes_the_command_with_it_when_it_is_killed() {
    let scene = Scene::new();
    let mut daemon = exec(&scene, &["sleep", "1000"]).start().expect("starts");
    let sleeping = || descendants::below(daemon.pid()).into_iter().find(|entry| entry.name == "sleep");
    let pid = wait_until("the command runs", READY, sleeping).expect("runs").pid;
    daemon.signal(Signal::SIGKILL).expect("SIGKILL");
    daemon.wait_exit(END).expect("is killed");
    wait_until("the command is gone", END, || (!descendants::is_running(pid)).then_some(())).expect("dies");
}

#[test]
fn exec_starts_the_command_as_from_a_shell() {
    let scene = Scene::new();
    // Limits of its own, and signals ignored on the way in, of which a hangup stays so.
    let outer = r#"trap '' HUP ALRM; ulimit -Sc "$(ulimit -Hc)"; ulimit -Sn 500; exec "$0" exec -- sh -c "$1""#;
    let inner = r#"grep -E '^Sig(Blk|Ign):' /proc/self/status; echo "core $(ulimit -Sc) of $(ulimit -Hc)"; ulimit -Sn"#;
    let tetherd = binary();
    let builder = scene.daemon().program("sh").args(&["-c", outer, tetherd.to_str().expect("UTF-8"), inner]);
    let mut daemon = builder.start().expect("starts");
    assert_eq!(end_of(&mut daemon).0, Some(0), "{}", daemon.output());
    let seen = daemon.stdout();
    let lines: Vec<&str> = seen.lines().collect();
    // Above 31 are real-time signals, two of which belong to the C library.
    let standard = |line: &str| u64::from_str_radix(&line["SigBlk:\t".len()..], 16).expect("a mask") & 0x7fff_ffff;
    assert_eq!([standard(lines[0]), standard(lines[1])], [0, 1 << (Signal::SIGHUP as u8 - 1)], "{seen}");
    let (soft, hard) = lines[2].strip_prefix("core ").and_then(|core| core.split_once(" of ")).expect("limits");
    assert_eq!((soft, lines[3]), (hard, "500"));
}

#[test]
fn exec_and_tailscaled_get_no_descriptors_but_the_standard_ones() {
    let scene = Scene::new();
    let secret = tempfile::NamedTempFile::new().expect("file");
    fs::write(secret.path(), "correct-horse-battery").expect("written");
    // As a shell leaves them open.
    let outer = r#"exec 7<"$2" 8<&7 9</dev/null; exec "$0" exec -- sh -c "$1""#;
    let inner = "ls /proc/self/fd | tr '\n' ' '; echo; echo runs; exec 1>&2; sleep 1000";
    let (tetherd, path) = (binary(), secret.path().to_str().expect("UTF-8"));
    let builder = scene.daemon().program("sh").args(&["-c", outer, tetherd.to_str().expect("UTF-8"), inner, path]);
    let daemon = builder.env("TETHERD_SOCKS_USER", "a").env("TETHERD_SOCKS_PASSWORD_FILE", "/dev/fd/7").start();
    let daemon = daemon.expect("starts");
    wait_written(&daemon, "runs");
    // The last one is that of the directory itself.
    assert_eq!(daemon.stdout().lines().next().map(str::trim), Some("0 1 2 3"), "{}", daemon.output());
    let of_tailscaled = fs::read_dir(format!("/proc/{}/fd", named(&daemon, "tailscaled"))).expect("is running");
    let open: Vec<_> = of_tailscaled.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    assert!(!open.contains(&secret.path().to_owned()), "{open:?}");
}

#[test]
fn exec_as_process_1_reaps_orphans_and_leaves_the_command_its_end() {
    let scene = Scene::new();
    // `kill -0` finds an ended process, too, until it is reaped. In the end the reaper has some milliseconds of work,
    // in which the command ends.
    let script = r#"
        orphans() { for number in $(seq $1); do sleep $2 >/dev/null 2>&1 & echo $!; done; }
        first=$(orphans 1 0.1); while kill -0 $first 2>/dev/null; do :; done
        echo $PPID
        many=$(orphans 200 1000)
        kill -KILL $many; exit 7"#;
    let tetherd = binary();
    let as_first = ["--pid", "--fork", "--kill-child", tetherd.to_str().expect("UTF-8"), "exec", "--", "sh", "-c"];
    let builder = scene.daemon().program("unshare").args(&as_first).args(&[script]).env("TETHERD_LOG_LEVEL", "debug");
    let mut daemon = builder.start().expect("starts");
    assert_eq!(end_of(&mut daemon).0, Some(7), "{}", daemon.output());
    assert_eq!(daemon.stdout(), "1\n");
    assert_logged_out(&scene);
}
