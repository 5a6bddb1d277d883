//! Tests what hosts/ has for other hosts of containers.
//!
//! It is checked by the tools of those hosts, as far as they run here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use testbed::daemon::SOCKS;
use testbed::image::repository;
use testbed::server::{PAGE, Server};
use testbed::{http, parts, socks};

use crate::scene::Scene;

/// `systemd-analyze security` gives 0 to the best, in tenths.
const EXPOSURE: &str = "15";

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn passes(command: &mut Command) -> String {
    let output = run(command);
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(output.status.success(), "{command:?}\n{stdout}\n{stderr}");
    stdout
}

fn part(name: &str) -> Command {
    Command::new(parts::find(name).unwrap_or_else(|error| panic!("make host-tools: {error}")))
}

/// A root with the unit, and programs where it says they are.
fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let file = |path: &str| {
        let file = root.path().join(path);
        fs::create_dir_all(file.parent().expect("a parent")).expect("made");
        file
    };
    fs::copy("/bin/true", file("usr/local/bin/tetherd")).expect("copied");
    let unit = file("etc/systemd/system/tetherd.service");
    fs::copy(repository("hosts/systemd/tetherd.service"), unit).expect("copied");
    for unit in ["network-online.target", "multi-user.target", "sysinit.target", "basic.target", "shutdown.target"] {
        let from = Path::new("/lib/systemd/system").join(unit);
        fs::copy(from, file(&format!("usr/lib/systemd/system/{unit}"))).expect("apt-get install systemd");
    }
    root
}

#[test]
fn systemd_takes_the_unit_and_finds_little_that_it_could_do() {
    let root = machine();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg("--recursive-errors=no").arg(format!("--root={}", root.path().display()));
    let output = run(verify.arg("tetherd.service"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", &format!("--threshold={EXPOSURE}")]);
    passes(security.arg(repository("hosts/systemd/tetherd.service")));
}

/// The system calls of one of systemd's groups, and of the groups in it.
fn system_calls(group: &str) -> BTreeSet<String> {
    let text = passes(Command::new("systemd-analyze").args(["syscall-filter", group]));
    let names = text.lines().skip(1).map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#'));
    names.flat_map(|name| if name.starts_with('@') { system_calls(name) } else { [name.to_owned()].into() }).collect()
}

#[test]
fn tetherd_works_with_the_system_calls_that_the_unit_leaves_it() {
    let unit = fs::read_to_string(repository("hosts/systemd/tetherd.service")).expect("reads");
    for line in ["SystemCallFilter=@system-service\n", "SystemCallFilter=~@privileged\n"] {
        assert!(unit.contains(line), "{line}");
    }
    let allowed = &system_calls("@system-service") - &system_calls("@privileged");
    let profile = tempfile::NamedTempFile::new().expect("a file");
    let rule = json!({ "names": allowed, "action": "SCMP_ACT_ALLOW" });
    // 1 is EPERM, as in the unit.
    let filter = json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": [rule] });
    fs::write(profile.path(), filter.to_string()).expect("written");
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    scene.run_healthy(&[&format!("--security-opt=seccomp={}", profile.path().display())]);
    let stream = socks::connect(SOCKS, "web", 80, None).expect("connects");
    assert_eq!(http::get(stream, "web", "/").expect("answers").text(), PAGE);
}

#[test]
fn podmans_generator_makes_units_that_start_one_after_the_other() {
    let units = passes(part("quadlet").arg("-dryrun").env("QUADLET_UNIT_DIRS", repository("hosts/podman")));
    let starts: Vec<_> = units.lines().filter(|line| line.starts_with("ExecStart=")).collect();
    let tetherd = starts.iter().find(|line| line.contains("localhost/tetherd")).expect("a unit");
    for option in ["--sdnotify=healthy", "--read-only", "--cap-drop all", "--user 65532:65532", "--memory=256m"] {
        assert!(tetherd.contains(option), "{option} is missing in {tetherd}");
    }
    assert!(starts.iter().any(|line| line.contains("--network container:tetherd")), "{starts:?}");
    assert!(units.contains("After=tetherd.service") && units.contains("Requires=tetherd.service"), "{units}");
}

#[test]
fn nomads_job_is_hcl() {
    passes(part("hclfmt").args(["-check", "-require-no-change"]).arg(repository("hosts/nomad/app.nomad.hcl")));
}

#[test]
fn githubs_workflow_has_no_fault_that_actionlint_finds() {
    // Without a repository around it, and without shellcheck, which may be there or not.
    passes(
        part("actionlint").args(["-shellcheck=", "-pyflakes="]).arg(repository("hosts/github-actions/tailnet.yaml")),
    );
}
