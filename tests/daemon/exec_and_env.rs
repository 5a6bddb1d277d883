//! Tests `exec` and `env`.
//!
//! `exec` is the daemon and a command in one process tree, `env` the variables by which programs find the proxy.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::admin::KeyOptions;
use testbed::daemon::{Builder, Daemon};
use testbed::parts;
use testbed::server::{PAGE, Server};
use testbed::wait::wait_until;

use crate::scene::{END, READY, Scene, command};

/// As a command: tells that it runs, and what it hears, until SIGTERM. The sleep is a child that a signal for the
/// command alone does not reach.
const LISTENING: &str = r#"
    count=0
    trap 'count=$((count+1)); echo "INT $count"' INT
    for name in HUP QUIT USR1 USR2 WINCH; do trap "echo $name" $name; done
    trap 'last_words; kill $child; exit 5' TERM
    sleep 1000 >/dev/null 2>&1 </dev/null & child=$!
    echo runs
    while kill -0 $child; do wait; done
"#;

/// `LISTENING` with `last_words` before its end.
pub fn listening(last_words: &str) -> String {
    format!("last_words() {{ {last_words}; }}\n{LISTENING}")
}

pub fn exec(scene: &Scene, command: &[&str]) -> Builder {
    scene.daemon().args(&["exec", "--"]).args(command)
}

pub fn exec_sh(scene: &Scene, script: &str) -> Builder {
    exec(scene, &["sh", "-c", script])
}

pub fn wait_written(daemon: &Daemon, line: &str) {
    let written = || daemon.stdout().lines().any(|written| written.trim() == line).then_some(());
    let written = wait_until(&format!("the command writes {line:?}"), READY, written);
    written.unwrap_or_else(|error| panic!("{error}: {}", daemon.output()));
}

/// The exit code and the last line on stderr.
pub fn end_of(daemon: &mut Daemon) -> (Option<i32>, String) {
    // Twice: a daemon that was ready gives tailscaled half a minute before it gives up.
    let status = daemon.wait_exit(2 * END).expect("ends");
    (status.code(), daemon.stderr().lines().last().unwrap_or_default().to_owned())
}

pub fn assert_logged_out(scene: &Scene) {
    assert!(scene.tailnet.node("app").expect("nodes").is_none(), "the node is logged out");
}

#[test]
fn exec_gives_the_command_a_proxy_that_works_at_its_first_line() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let script = r#"env; curl --silent --show-error --noproxy '' --proxy "$ALL_PROXY" http://web/"#;
    let builder = exec_sh(&scene, script).env("NO_PROXY", "db.example").env("https_proxy", "http://corp:3128");
    let builder = builder.env("TETHERD_SOCKS_USER", "a@pp").env("TETHERD_SOCKS_PASSWORD", "pass:word/%'");
    let mut daemon = builder.env("TETHERD_SOCKS_LISTEN", "127.0.0.1:0").start().expect("starts");
    assert_eq!(end_of(&mut daemon).0, Some(0), "{}", daemon.output());
    let seen = daemon.stdout();
    assert!(seen.ends_with(PAGE), "{}", daemon.output());
    for part in ["\nALL_PROXY=http://a%40pp:pass%3Aword%2F%25%27@127.0.0.1:", "\nhttp_proxy=http://a%40pp:"] {
        assert!(format!("\n{seen}").contains(part), "{part:?} is missing in {seen}");
    }
    assert!(seen.contains("fd00:42::42,db.example\n"), "NO_PROXY is merged: {seen}");
    assert!(seen.contains("https_proxy=http://corp:3128\n") && !seen.contains("HTTPS_PROXY"), "{seen}");
    assert!(!daemon.stderr().contains("pass"), "the log shows the password: {}", daemon.stderr());
    assert_logged_out(&scene);
}

#[test]
fn exec_ends_with_the_exit_code_of_the_command() {
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 128 + 9), ("kill -TERM $$", 128 + 15)] {
        let scene = Scene::new();
        let mut daemon = exec_sh(&scene, script).start().expect("starts");
        assert_eq!(end_of(&mut daemon).0, Some(code), "{script}: {}", daemon.output());
        assert_logged_out(&scene);
        assert!(daemon.temp_dir().read_dir().expect("its TMPDIR").next().is_none(), "nothing is left");
    }
}

#[test]
fn exec_serves_while_the_command_shuts_down_after_sigterm() {
    let scene = Scene::new();
    let _server = Server::http(80).expect("server");
    let script = listening(r#"curl --silent --show-error --proxy "$ALL_PROXY" http://web/"#);
    let mut daemon = exec_sh(&scene, &script).start().expect("starts");
    wait_written(&daemon, "runs");
    daemon.terminate().expect("SIGTERM");
    assert_eq!(end_of(&mut daemon).0, Some(5), "{}", daemon.output());
    assert!(daemon.stdout().contains(PAGE), "the last request: {}", daemon.output());
    assert_logged_out(&scene);
}

#[test]
fn exec_never_runs_the_command_without_a_tailnet() {
    let mut scene = Scene::new();
    let builder = exec_sh(&scene, "echo ran").env("TETHERD_AUTH_KEY", "no-such-key");
    let mut refused = builder.start().expect("starts");
    let (code, line) = end_of(&mut refused);
    assert_eq!(code, Some(77), "{line}");
    assert!(line.contains("refused the auth key") && !refused.output().contains("ran\n"), "{}", refused.output());

    let late = exec_sh(&scene, "echo ran").env("TETHERD_START_TIMEOUT", "2s");
    let stopped = exec_sh(&scene, "echo ran");
    scene.tailnet.stop_control();
    let mut late = late.start().expect("starts");
    let (code, line) = end_of(&mut late);
    assert_eq!((code, late.stdout().as_str()), (Some(69), ""), "{line}");
    assert!(line.contains("not ready within start_timeout (2s)"), "{line}");

    let mut stopped = stopped.start().expect("starts");
    wait_until("health answers", READY, || stopped.readyz().ok()).expect("answers");
    stopped.terminate().expect("SIGTERM");
    assert_eq!((end_of(&mut stopped).0, stopped.stdout().as_str()), (Some(128 + 15), ""), "does not look like success");
}

#[test]
fn exec_ends_the_command_when_the_daemon_cannot_go_on() {
    const DEAF: &str = "trap '' TERM; sleep 1000 >/dev/null 2>&1 & echo runs; wait";
    for (script, drain, heeds) in [(listening("echo told"), "20s", true), (DEAF.to_owned(), "1s", false)] {
        let scene = Scene::new();
        let directory = tempfile::tempdir().expect("directory");
        let tailscaled = directory.path().join("tailscaled");
        symlink(parts::find("tailscaled").expect("parts"), &tailscaled).expect("linked");
        let builder = exec_sh(&scene, &script).env("TETHERD_DRAIN_TIMEOUT", drain);
        let builder = builder.env("TETHERD_TAILSCALED_PATH", tailscaled.to_str().expect("UTF-8"));
        let mut daemon = builder.start().expect("starts");
        wait_written(&daemon, "runs");
        fs::remove_file(&tailscaled).and_then(|()| symlink("/bin/false", &tailscaled)).expect("broken");
        kill(Pid::from_raw(daemon.tailscaled_pid().expect("runs")), Signal::SIGKILL).expect("killed");
        let (code, line) = end_of(&mut daemon);
        assert_eq!(code, Some(70), "{line}");
        assert!(line.contains("again and again"), "{line}");
        assert_eq!(daemon.stdout().contains("told"), heeds, "{}", daemon.output());
        assert_eq!(daemon.stderr().contains("the command is killed"), !heeds, "{}", daemon.output());
    }
}

#[test]
fn exec_tells_a_missing_command_from_one_that_cannot_be_run() {
    for (program, code, part) in [("no-such-program", 127, "was not found"), ("/etc/passwd", 126, "cannot be run")] {
        let scene = Scene::new();
        let mut daemon = exec(&scene, &[program]).start().expect("starts");
        let (status, line) = end_of(&mut daemon);
        assert_eq!(status, Some(code), "{line}");
        assert!(line.starts_with("tetherd: the command ") && line.contains(part) && line.contains(program), "{line}");
        assert_logged_out(&scene);
    }
    for wrong in [&["exec"][..], &["exec", "--"], &["exec", "sleep"]] {
        assert_eq!(command(wrong).output().expect("runs").status.code(), Some(64));
    }
}

#[test]
fn exec_keeps_secrets_from_the_command_and_passes_the_rest() {
    let scene = Scene::new();
    let key = scene.tailnet.auth_key(KeyOptions { reusable: false, ephemeral: true }).expect("key");
    let builder = exec(&scene, &["env"]).env("TETHERD_AUTH_KEY", &key).env("A_COPY_OF_THE_KEY", &key);
    let builder = builder.env("AWS_SECRET_ACCESS_KEY", "aws-secret").env("DATABASE_URL", "postgres://db/app");
    let mut daemon = builder.start().expect("starts");
    assert_eq!(end_of(&mut daemon).0, Some(0), "{}", daemon.output());
    let seen = daemon.stdout();
    assert!(seen.contains("DATABASE_URL=postgres://db/app\n"), "{seen}");
    for secret in [&key, "aws-secret"] {
        assert!(!daemon.output().contains(secret), "{secret:?} is in {}", daemon.output());
    }
    assert!(!seen.contains("TETHERD_AUTH_KEY"), "not even empty: {seen}");
}

/// The output of `env`, with these variables set.
fn env(form: &[&str], variables: &[(&str, &str)]) -> Output {
    command(&[&["env"], form].concat()).envs(variables.iter().copied()).output().expect("runs")
}

fn text(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

#[test]
fn env_means_the_same_in_every_form() {
    let variables = [
        ("TETHERD_SOCKS_LISTEN", "0.0.0.0:1080"),
        ("TETHERD_SOCKS_USER", "app"),
        ("TETHERD_SOCKS_PASSWORD", "it's $HOME & \"more\""),
        ("no_proxy", "it's.example;echo hacked"),
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
    ];
    let user = "app:it%27s%20%24HOME%20%26%20%22more%22@127.0.0.1:1080";
    let direct = "localhost,127.0.0.1,127.0.0.0/8,::1,169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,\
                  fd00:ec2::23,fd20:ce::254,168.63.129.16,192.0.0.192,fd00:c1::a9fe:a9fe,fd00:42::42,.svc,.cluster.local,10.96.0.1,\
                  it's.example;echo,hacked";
    let http = format!("http://{user}");
    let values = [("ALL_PROXY", &*http), ("HTTP_PROXY", &http), ("HTTPS_PROXY", &http), ("NO_PROXY", direct)];
    let expected: BTreeMap<String, String> = values
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), name.to_lowercase()].map(|name| (name, value.to_owned())))
        .collect();

    let json = env(&["--shell", "json"], &variables);
    assert_eq!(serde_json::from_str::<BTreeMap<_, _>>(text(&json)).expect("one object"), expected);
    let lines = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let pairs = pairs.filter(|(name, _)| name.to_lowercase().ends_with("_proxy"));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    assert_eq!(lines(text(&env(&["--shell", "dotenv"], &variables))), expected);
    let script = format!("{}env", text(&env(&[], &variables)));
    let evaluated = Command::new("sh").args(["-c", &script]).env_clear().output().expect("runs");
    assert_eq!(lines(text(&evaluated)), expected);
    assert_eq!(text(&evaluated).lines().filter(|line| line.contains("hacked")).count(), 2);
}

#[test]
fn env_gives_all_proxy_the_form_that_is_set() {
    let of = |form: &str| {
        let printed = env(&["--shell", "dotenv"], &[("TETHERD_ENV_ALL_PROXY", form)]);
        text(&printed).lines().find_map(|line| line.strip_prefix("all_proxy=")).map(str::to_owned)
    };
    assert_eq!(of("http").as_deref(), Some("http://127.0.0.1:1055"));
    assert_eq!(of("socks5h").as_deref(), Some("socks5h://127.0.0.1:1055"));
    assert_eq!(of("off"), None);
    assert_eq!(env(&[], &[("TETHERD_ENV_ALL_PROXY", "socks5")]).status.code(), Some(78));
}

#[test]
fn env_says_what_is_missing_where_the_address_is_not_known() {
    let unknown = env(&[], &[("TETHERD_SOCKS_LISTEN", "127.0.0.1:0")]);
    assert_eq!(unknown.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("choose a port"), "{unknown:?}");
    assert_eq!(env(&["--shell", "fish"], &[]).status.code(), Some(64));
}
