//! Tests of several tailnets in one file: names, order, faults, handover.

use super::*;
use crate::cli::configure;
use crate::config::config_file::ConfigFile;
use crate::config::layers::Flags;
use crate::config::sections::auth::AuthSource;
use crate::config::settings::Settings;
use crate::environment::environment;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Listeners of their own, so that two tailnets do not clash.
const TWO: &str =
    "[tailnet.office]\nsocks_listen = \"127.0.0.1:1\"\n[tailnet.customer]\nsocks_listen = \"127.0.0.1:2\"\n";

fn file(text: &str) -> Option<ConfigFile> {
    Some(ConfigFile { origin: "file /t.toml".to_owned(), text: Ok(text.to_owned()) })
}

fn all(text: &str, pairs: &[(&str, &str)], flags: &Flags) -> AllConfigured {
    let environment = environment(pairs);
    read_all(&mut Sources::new(&environment, file(text), flags), &environment, None)
}

/// The settings of one tailnet, which must be right, as a supervisor's daemon has them or as one alone has.
fn of(name: &str, text: &str, pairs: &[(&str, &str)], flags: &Flags, is_supervised: bool) -> Settings {
    let environment = environment(pairs);
    let mut sources = Sources::new(&environment, file(text), flags);
    let name = TailnetName::parse(name).expect("a name");
    sources.choose(Some(ChosenTailnet { name, is_supervised }));
    configure::read(&sources, &environment, None).config.settings.expect("are right")
}

#[test]
fn the_table_of_a_tailnet_wins_over_all_but_the_command_line() {
    let text = format!("hostname = \"top\"\nconnect_timeout = \"1s\"\n{TWO}[tailnet.third]\nhostname = \"table\"\n");
    let hostname = |name: &str, pairs: &[(&str, &str)], flags: &Flags| {
        of(name, &text, pairs, flags, true).hostname.map(|name| name.0).unwrap_or_default()
    };
    let variables = [("TS_HOSTNAME", "ts"), ("TETHERD_HOSTNAME", "own")];
    assert_eq!(hostname("office", &[], &vec![]), "top");
    assert_eq!(hostname("office", &variables, &vec![]), "own");
    assert_eq!(hostname("third", &variables, &vec![]), "table");
    assert_eq!(hostname("third", &variables, &vec![("hostname", "flag".into())]), "flag");
    assert_eq!(of("office", &text, &[], &vec![], true).connect_timeout, Duration::from_secs(1));
    // A secret and its file are one setting.
    let key = "auth_key = \"tskey-auth-top\"\n[tailnet.office]\nauth_key = \"tskey-auth-table\"\n";
    let auth = of("office", key, &[("TS_AUTHKEY_FILE", "/nowhere")], &vec![], true).auth;
    let Some(AuthSource::Key(source)) = auth else { panic!("{auth:?}") };
    assert_eq!(source.read().expect("is there").expose(), "tskey-auth-table");
}

#[test]
fn what_is_said_for_all_is_not_the_same_place_for_each() {
    let text = format!(
        "state_dir = \"/var/lib/tetherd/\"\nhealth_listen = \"127.0.0.1:9\"\n{TWO}[tailnet.own]\n\
                        state_dir = \"/own\"\nhealth_listen = \"127.0.0.1:10\"\n"
    );
    for (name, is_supervised, state, health) in [
        ("office", true, "/var/lib/tetherd/office", &[][..]),
        ("office", false, "/var/lib/tetherd/office", &["127.0.0.1:9"]),
        ("own", true, "/own", &["127.0.0.1:10"]),
        ("own", false, "/own", &["127.0.0.1:10"]),
    ] {
        let settings = of(name, &text, &[], &vec![], is_supervised);
        assert_eq!(settings.state_dir.as_deref(), Some(state.as_ref()), "{name}");
        let found: Vec<String> = settings.health_listen.iter().map(ToString::to_string).collect();
        assert_eq!(found, health, "{name} {is_supervised}");
    }
    let flags = vec![("state_dir", "/s".to_owned()), ("health_listen", "127.0.0.1:11".to_owned())];
    let settings = of("own", &text, &[], &flags, true);
    assert_eq!(settings.state_dir.as_deref(), Some("/s/own".as_ref()));
    assert_eq!(settings.health_listen, ["127.0.0.1:10".parse().expect("an address")]);
    let all = all(&text, &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")], &vec![]);
    assert_eq!(all.supervisor.health_listen, ["127.0.0.1:9".parse().expect("an address")]);
}

#[test]
fn faults_name_key_and_table_and_come_once() {
    let no_key = "[tailnet.a]\nsocks_listen = \"127.0.0.1:1\"\n";
    for (text, told) in [
        (
            "[tailnet.a]\nsoks_listen = \"x\"\n",
            "soks_listen (from file /t.toml [tailnet.a]) is not a known setting: did you mean socks_listen?",
        ),
        ("[tailnet.a]\ndrain_timeout = \"soon\"\n", "drain_timeout (from file /t.toml [tailnet.a]) is \"soon\""),
        ("[tailnet.A]\n[tailnet.b]\n", "tailnet.A (from file /t.toml) has no name of a tailnet"),
        ("[tailnet.\"a b\"]\n[tailnet.b]\n", "tailnet.a b (from file /t.toml) has no name of a tailnet"),
        ("[tailnet]\nhostname = \"x\"\n", "tailnet.hostname (from file /t.toml) is a setting where tables"),
        (
            "[tailnet]\nhostname = \"x\"\n[tailnet.b]\n",
            "tailnet.hostname (from file /t.toml) is a setting where tables",
        ),
        ("[tailnet]\n", "tailnet (from file /t.toml) is a table without tailnets"),
        ("[[tailnet]]\nhostname = \"x\"\n", "tailnet (from file /t.toml) is a list of tables"),
        ("[tailnet.a.socks_listen]\nx = 1\n", "socks_listen (from file /t.toml [tailnet.a]) is unusable"),
        ("[tailnet.a.nested]\nx = 1\n", "nested (from file /t.toml [tailnet.a]) is not a known setting"),
        (
            "[tailnet.a]\nauth_key = \"x\"\nauth_key_file = \"/y\"\n",
            "auth_key (from file /t.toml [tailnet.a]) is given together",
        ),
        ("unknown = 1\n[tailnet.a]\n", "unknown (from file /t.toml) is not a known setting"),
        (no_key, ""),
    ] {
        let all = all(text, &[], &vec![]);
        let faults: Vec<String> = all.faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            faults.iter().filter(|fault| fault.starts_with(told)).count(),
            usize::from(!told.is_empty()),
            "{text}: {faults:?}"
        );
        assert_eq!(faults.is_empty(), told.is_empty(), "{text}: {faults:?}");
    }
    let both = all(
        "unknown = 1\ndrain_timeout = \"soon\"\n[tailnet.a]\n[tailnet.b]\nsocks_listen = \"127.0.0.1:2\"\n",
        &[],
        &vec![],
    );
    let told = both.checked().expect_err("is faulty").to_string();
    assert_eq!((told.matches("unknown (from").count(), told.matches("\"soon\"").count()), (1, 1), "{told}");
}

#[test]
fn two_tailnets_at_one_place_are_refused_by_both_names() {
    let two = |one: &str, other: &str| format!("[tailnet.a]\n{one}\n[tailnet.b]\n{other}\n");
    let apart = "socks_listen = \"127.0.0.1:1\"";
    let with = |line: &str| format!("{apart}\n{line}");
    for (one, other, told) in [
        (
            String::new(),
            String::new(),
            "socks_listen (from default) of tailnet b and socks_listen of tailnet a cannot both be 127.0.0.1:1055",
        ),
        (
            String::new(),
            "socks_listen = \"0.0.0.0:1055\"\nallow_open_proxy = true".into(),
            "socks_listen (from file /t.toml [tailnet.b]) of tailnet b and socks_listen of tailnet a",
        ),
        (
            String::new(),
            with("forwards = \"127.0.0.1:1055=db:1\""),
            "forwards (from file /t.toml [tailnet.b]) of tailnet b and socks_listen of tailnet a",
        ),
        (
            String::new(),
            with("health_listen = \"127.0.0.1:9002\""),
            "health_listen (from file /t.toml [tailnet.b]) of tailnet b and health_listen of all tailnets",
        ),
        (
            "dns_listen = \"127.0.0.1:53\"".into(),
            with("forwards = \"udp:127.0.0.1:53=db:1\""),
            "forwards (from file /t.toml [tailnet.b]) of tailnet b and dns_listen of tailnet a",
        ),
        (
            "state_dir = \"/s\"".into(),
            with("state_dir = \"/s/\""),
            "state_dir (from file /t.toml [tailnet.b]) of tailnet b and state_dir of tailnet a cannot both be /s",
        ),
        (
            "tailscaled_socket = \"/s\"".into(),
            with("tailscaled_socket = \"//s\""),
            "tailscaled_socket (from file /t.toml [tailnet.b]) of tailnet b",
        ),
        (
            "socks_listen = \"unix:/s\"".into(),
            "socks_listen = \"unix:/./s\"".into(),
            "socks_listen (from file /t.toml [tailnet.b]) of tailnet b",
        ),
        ("socks_listen = \"127.0.0.1:0\"".into(), "socks_listen = \"127.0.0.1:0\"".into(), ""),
        ("dns_listen = \"127.0.0.1:1\"".into(), "socks_listen = \"127.0.0.2:1055\"".into(), ""),
    ] {
        let all = all(&two(&one, &other), &[], &vec![]);
        let faults: Vec<String> = all.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.is_empty(), told.is_empty(), "{one} {other}: {faults:?}");
        assert!(told.is_empty() || faults.iter().any(|fault| fault.starts_with(told)), "{told}: {faults:?}");
    }
}

#[test]
fn a_command_for_one_tailnet_asks_which() {
    let environment = environment(&[]);
    let exec = Command::Exec(vec!["true".into()]);
    let one = "[tailnet.office]\n";
    for (text, named, command, expected) in [
        (TWO, None, &Command::Run, Ok(Scope::All)),
        (TWO, None, &Command::Check { security: false }, Ok(Scope::All)),
        (TWO, None, &Command::Healthcheck, Ok(Scope::One)),
        (TWO, None, &exec, Err("add --tailnet, with one of customer, office")),
        (TWO, Some("office"), &exec, Ok(Scope::One)),
        (TWO, Some("office"), &Command::Run, Ok(Scope::One)),
        (TWO, Some("home"), &Command::Run, Err("--tailnet names one of customer, office")),
        (one, None, &exec, Ok(Scope::One)),
        (one, None, &Command::Run, Ok(Scope::One)),
        ("hostname = \"x\"\n", Some("example.com"), &Command::Run, Ok(Scope::One)),
    ] {
        let flags = named.map(|name| ("tailnet", name.to_owned())).into_iter().collect();
        let mut sources = Sources::new(&environment, file(text), &flags);
        let chosen = choose(&mut sources, command, false);
        let found = chosen.as_ref().map_err(ToString::to_string);
        match expected {
            Ok(scope) => assert_eq!(found, Ok(&scope), "{text} {named:?} {command:?}"),
            Err(told) => {
                assert!(found.as_ref().is_err_and(|reason| reason.contains(told)), "{command:?}: {found:?}");
                assert_eq!(chosen.as_ref().expect_err("is wrong").exit_code(), 64);
            }
        }
        let name = sources.chosen().map(|chosen| chosen.name.as_str());
        assert_eq!(
            name.is_some(),
            found == Ok(&Scope::One) && text != "hostname = \"x\"\n" && *command != Command::Healthcheck
        );
    }
    // Without tables the flag is the setting.
    let flags = vec![("tailnet", "example.com".to_owned())];
    assert_eq!(
        configure::load(&environment, None, &flags, None).config.settings.expect("right").tailnet,
        "example.com"
    );
}

#[test]
fn in_lambda_one_environment_is_one_node() {
    let lambda = [("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")];
    let told = all(TWO, &lambda, &vec![]).checked().expect_err("is refused");
    assert!(told.to_string().contains("tailnet (from file /t.toml) has several tailnets"), "{told}");
    assert_eq!(told.exit_code(), 78);
}

/// Neither in arguments nor in variables, and none is lost.
#[test]
fn secrets_reach_the_daemons_by_the_handover_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipe = directory.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let text = format!("socks_user = \"app\"\n{TWO}auth_key_file = \"{}\"\n", pipe.display());
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, "tskey-auth-once\n")
    });
    let pairs =
        [("TETHERD_SOCKS_PASSWORD", "pass"), ("AWS_SECRET_ACCESS_KEY", "hidden"), ("HOME", "/root"), ("TMPDIR", "/t")];
    let environment = environment(&pairs);
    let flags = vec![("socks_password", "of-the-flag".to_owned())];
    let mut sources = Sources::new(&environment, file(&text), &flags);
    let all = read_all(&mut sources, &environment, None);
    writer.join().expect("ends").expect("is read");
    let inherited = pairs.map(|(name, value)| (name.into(), value.into())).to_vec();
    let plan = all.plan(&sources, inherited);
    let names: Vec<_> = plan.variables.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["HOME", "TMPDIR"]);
    assert_eq!(plan.temporary.as_deref(), Some("/t"));
    let (name, handover) = &plan.daemons[0];
    assert_eq!(name.as_str(), "customer");
    let whole = String::from_utf8(handover.to_bytes().to_vec()).expect("text");
    for secret in ["tskey-auth-once", "pass", "hidden", "of-the-flag", "socks_user"] {
        assert!(whole.contains(secret), "{secret}: {whole}");
    }
    assert!(!String::from_utf8_lossy(&plan.daemons[1].1.to_bytes()).contains("tskey-auth-once"));
    let others = &plan.daemons[0].1.others;
    assert_eq!(others.tcp, ["127.0.0.1:9002", "127.0.0.1:1"].map(|address| address.parse().expect("an address")));
    // The daemon cannot read the pipe any more.
    let mut sources = Sources::new(&environment, file(&text), &Flags::new());
    sources.keep(handover.kept.clone());
    sources.choose(Some(ChosenTailnet { name: name.clone(), is_supervised: true }));
    let settings = configure::read(&sources, &environment, None).config.settings.expect("are right");
    let Some(AuthSource::Key(source)) = settings.auth else { panic!("{:?}", settings.auth) };
    assert_eq!(source.read().expect("is there").expose(), "tskey-auth-once");
}
