//! Tests that README and `--help` name every setting, and none that does not exist.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;

use tetherd::config::table::KEYS;
use tetherd::config::tailscale::names;
use tetherd::config::tailscale::names::{Meaning, NAMES};
use tetherd::target::metadata;
use tetherd::target::metadata::METADATA;

fn table() -> BTreeSet<String> {
    KEYS.iter().map(|key| key.name.to_owned()).collect()
}

/// The names in backquotes of the first column of the table under "## Settings".
fn documented(readme: &str) -> BTreeSet<String> {
    let settings = readme.split("\n## ").find(|section| section.starts_with("Settings")).expect("a section Settings");
    let first_column = settings.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    first_column
        .flat_map(|cell| cell.split('`').step_by(2).filter(|name| !name.is_empty()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_readme_lists_every_setting_and_no_other() {
    let readme = include_str!("../README.md");
    assert_eq!(documented(readme), table());
}

#[test]
fn the_readme_names_every_variable_of_tailscales_image_that_is_known() {
    let readme = include_str!("../README.md");
    for alias in KEYS.iter().flat_map(|key| key.aliases) {
        assert!(readme.contains(&format!("`{alias}`")), "{alias} is missing");
    }
}

/// The rows of a table: the names in backquotes of the first two columns, and the text of the second.
fn rows(document: &str) -> Vec<(String, Vec<String>, String)> {
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().trim_end_matches('`').to_owned();
        let second = cells.next()?.trim().to_owned();
        Some((name, quoted(&second), second))
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn the_table_of_tailscales_variables_is_that_of_the_code() {
    let rows = rows(include_str!("../docs/tailscale-names.md"));
    let documented: BTreeSet<_> = rows.iter().map(|(name, keys, _)| (name.clone(), keys.clone())).collect();
    let known = names::all();
    let known = known.into_iter().map(|(name, keys)| (name.to_owned(), keys.into_iter().map(str::to_owned).collect()));
    assert_eq!(documented, known.collect());
    for name in NAMES {
        let (_, _, second) = rows.iter().find(|(row, ..)| row == name.name).expect(name.name);
        let is_refused = matches!(name.means, Meaning::Refused { .. });
        assert_eq!(second.starts_with("refused"), is_refused, "{}", name.name);
    }
}

#[test]
fn help_lists_every_setting_and_no_other() {
    let output = Command::new(env!("CARGO_BIN_EXE_tetherd")).args(["check", "--help"]).output().expect("runs");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let flags: BTreeSet<String> = flags.map(|flag| flag.trim_end_matches([',', ':']).replace('-', "_")).collect();
    let others = BTreeSet::from(["config", "help", "security", "version"].map(str::to_owned));
    assert_eq!(flags.difference(&others).cloned().collect::<BTreeSet<_>>(), table());
}

/// Names of tetherd's variables, of two words and more.
fn variables(document: &str) -> BTreeSet<String> {
    let words = document.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter_map(|word| word.strip_prefix("TETHERD_")).map(str::to_lowercase).collect()
}

#[test]
fn what_is_deployed_names_no_setting_that_does_not_exist() {
    let documents = [
        ("docker/compose.yaml", include_str!("../docker/compose.yaml"), &["image"][..]),
        ("ecs/task-definition.json", include_str!("../ecs/task-definition.json"), &[]),
        ("ecs/template.yaml", include_str!("../ecs/template.yaml"), &[]),
        ("ecs/gateway.yaml", include_str!("../ecs/gateway.yaml"), &[]),
        ("docs/kubernetes.md", include_str!("../docs/kubernetes.md"), &["settings"]),
        ("helm/tetherd/README.md", include_str!("../helm/tetherd/README.md"), &["settings"]),
        ("lambda-layer/template.yaml", include_str!("../lambda-layer/template.yaml"), &[]),
        ("webhook-forwarder/template.yaml", include_str!("../webhook-forwarder/template.yaml"), &[]),
        ("docker/gateway/compose.yaml", include_str!("../docker/gateway/compose.yaml"), &["image"]),
        ("hosts/cloud-run/service.yaml", include_str!("../hosts/cloud-run/service.yaml"), &[]),
        ("hosts/github-actions/tailnet.yaml", include_str!("../hosts/github-actions/tailnet.yaml"), &[]),
        ("hosts/nomad/app.nomad.hcl", include_str!("../hosts/nomad/app.nomad.hcl"), &[]),
        ("hosts/podman/pod.yaml", include_str!("../hosts/podman/pod.yaml"), &[]),
        ("hosts/podman/tetherd.container", include_str!("../hosts/podman/tetherd.container"), &[]),
        ("docs/lambda.md", include_str!("../docs/lambda.md"), &["exec_wrapper_next"]),
        ("docs/docker.md", include_str!("../docs/docker.md"), &[]),
    ];
    for (name, document, others) in documents {
        let mut found = variables(document);
        assert!(!found.is_empty(), "{name} names none");
        found.retain(|variable| !others.contains(&variable.as_str()));
        assert_eq!(found.difference(&table()).cloned().collect::<Vec<_>>(), Vec::<String>::new(), "{name}");
    }
}

/// What `NO_PROXY` holds where nothing but loopback and metadata is added: what the program says.
fn always_direct() -> String {
    let said = Command::new(env!("CARGO_BIN_EXE_tetherd")).args(["env", "--shell", "dotenv"]).env_clear().output();
    let said = String::from_utf8(said.expect("runs").stdout).expect("UTF-8");
    let list = said.lines().find_map(|line| line.strip_prefix("NO_PROXY=")).expect("NO_PROXY");
    list.trim_matches(['"', '\'']).to_owned()
}

#[test]
fn lists_of_what_is_never_proxied_and_of_metadata_are_those_of_the_program() {
    let direct = always_direct();
    for address in metadata::addresses() {
        assert!(direct.split(',').any(|host| host == address), "{address} is not in {direct}");
    }
    // What follows is the platform's own.
    for (name, document) in [
        ("helm/tetherd/templates/_sidecar.tpl", include_str!("../helm/tetherd/templates/_sidecar.tpl")),
        ("ecs/task-definition.json", include_str!("../ecs/task-definition.json")),
        ("ecs/template.yaml", include_str!("../ecs/template.yaml")),
        ("hosts/cloud-run/service.yaml", include_str!("../hosts/cloud-run/service.yaml")),
    ] {
        let lists: Vec<_> = document.match_indices("localhost,").map(|(at, _)| &document[at..]).collect();
        let [list] = lists.as_slice() else { panic!("{name} has {} lists", lists.len()) };
        let list = list.split([' ', '"', '\n']).next().unwrap_or_default();
        let rest = list.strip_prefix(&direct);
        let is_metadata = |host: &str| host.parse::<IpAddr>().is_ok();
        assert!(rest.is_some_and(|rest| !rest.split(',').any(is_metadata)), "{name}: {list}, and not {direct}");
    }
    let readme = include_str!("../README.md").replace('\n', " ");
    let (_, listed) = readme.split_once("Metadata addresses of clouds (").expect("a list");
    let listed: BTreeSet<&str> = listed.split_once(')').expect("its end").0.split(", ").collect();
    let known: BTreeSet<String> = METADATA.into_iter().map(|it| it.network.to_string()).collect();
    let known: BTreeSet<&str> = known.iter().map(|it| it.trim_end_matches("/32").trim_end_matches("/128")).collect();
    let listed: BTreeSet<&str> = listed.iter().map(|it| it.trim_end_matches("/32")).collect();
    assert_eq!(listed, known);
}

/// Settings of the chart, as `config.KEY`.
fn chart_settings(document: &str) -> BTreeSet<String> {
    let words = document.split("config.").skip(1);
    let key = |rest: &str| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().map(str::to_owned);
    words.filter_map(key).filter(|key| !key.is_empty()).collect()
}

#[test]
fn what_is_said_of_the_chart_names_no_setting_that_does_not_exist() {
    let documents = [
        ("docs/kubernetes.md", include_str!("../docs/kubernetes.md")),
        ("helm/tetherd/README.md", include_str!("../helm/tetherd/README.md")),
        ("helm/tetherd/values.yaml", include_str!("../helm/tetherd/values.yaml")),
        ("helm/tetherd/templates/_auth.tpl", include_str!("../helm/tetherd/templates/_auth.tpl")),
        ("helm/tetherd/templates/_sidecar.tpl", include_str!("../helm/tetherd/templates/_sidecar.tpl")),
        ("helm/tetherd/templates/gateway/_pod.tpl", include_str!("../helm/tetherd/templates/gateway/_pod.tpl")),
    ];
    for (name, document) in documents {
        let found = chart_settings(document);
        assert!(!found.is_empty(), "{name} names none");
        assert_eq!(found.difference(&table()).cloned().collect::<Vec<_>>(), Vec::<String>::new(), "{name}");
    }
}

/// What is deployed, and what users are told to type.
fn examples() -> Vec<(String, String)> {
    let places = ["README.md", "docs", "docker", "ecs", "helm", "hosts", "lambda-layer", "webhook-forwarder"];
    let listed = Command::new("git").arg("ls-files").args(places).output().expect("git");
    let listed = String::from_utf8(listed.stdout).expect("UTF-8");
    let wanted = |name: &&str| !name.ends_with(".rs") && !name.ends_with(".lock");
    let read = |name: &str| Some((name.to_owned(), std::fs::read_to_string(name).ok()?));
    listed.lines().filter(wanted).filter_map(read).collect()
}

/// The local files of secrets that a line names: what AWS and kubectl read, what is mounted, what is installed or written.
fn secret_files(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split([' ', '`', '"', ';', ',', '(', ')']).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |at| words[at]);
        let name = if let Some(name) = word.strip_prefix("file://") {
            Some(name)
        } else if before == "--from-file" {
            word.rsplit('=').next()
        } else if let Some(name) = word.strip_prefix("./").filter(|_| ["-v", "--volume"].contains(&before)) {
            name.split(':').next()
        } else if line.contains("_FILE:-./") {
            word.split_once(":-./").map(|(_, name)| name.trim_end_matches('}'))
        } else {
            (before == ">" && line.contains("openssl rand")).then_some(*word)
        };
        found.extend(
            name.filter(|name| name.chars().any(char::is_lowercase) && !name.starts_with("..")).map(str::to_owned),
        );
    }
    found
}

#[test]
fn files_of_secrets_that_users_are_told_to_make_reach_neither_git_nor_an_image() {
    let mut names: BTreeSet<String> =
        examples().iter().flat_map(|(_, text)| text.lines().flat_map(secret_files).collect::<Vec<_>>()).collect();
    for name in ["key", "auth_key", "proxy_password", "password", "users.toml", "client.json", "signing-secret"] {
        assert!(names.remove(name), "{name} is found in no document");
        names.insert(name.to_owned());
    }
    names.extend(["server.key", ".env", "prod.env", "roots.p12"].map(str::to_owned));
    let dockers = include_str!("../.dockerignore");
    for name in names {
        for place in ["", "docker/", "docker/gateway/", "webhook-forwarder/"] {
            let ignored = Command::new("git").args(["check-ignore", "--quiet", &format!("{place}{name}")]).status();
            assert!(ignored.expect("git").success(), "git takes {place}{name}");
        }
        let ending = name.rsplit_once('.').map_or_else(String::new, |(_, ending)| format!("**/*.{ending}"));
        let is_known = dockers.lines().any(|line| line == format!("**/{name}") || line == ending);
        assert!(is_known, "an image's build gets {name}");
    }
    let tracked = Command::new("git").args(["ls-files", "--ignored", "--cached", "--exclude-standard"]).output();
    assert_eq!(String::from_utf8_lossy(&tracked.expect("git").stdout), "", "what is ignored is no part of the project");
}

/// 0400 of the container's user: 65532.
#[test]
fn no_example_makes_a_secret_readable_for_everybody() {
    for (name, text) in examples() {
        for line in text.lines() {
            let is_install =
                line.contains("install ") && ["key", "password", "KEY", "users"].iter().any(|it| line.contains(it));
            let is_for_one =
                !is_install || line.contains("-m 400") && (line.contains("-o 65532") || line.contains("systemd"));
            assert!(is_for_one && !line.contains("chmod 444"), "{name}: {line}");
        }
    }
}

/// Features of tailscale's build in the tables of docs/tailscaled.md, by the words behind them in the columns of image and layer.
fn features(image: &str, layer: &str) -> BTreeSet<String> {
    let document = include_str!("../docs/tailscaled.md");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.trim_end_matches('`').to_owned();
        (cells.next()? == image && cells.next()? == layer).then_some(name)
    };
    document.lines().filter_map(row).collect()
}

#[test]
fn what_the_carried_tailscaled_can_do_is_what_it_is_built_with() {
    let built: BTreeSet<String> =
        include_str!("../parts/tailscaled/small.features").trim().split(',').map(str::to_owned).collect();
    let parts = include_str!("../parts/parts.mk");
    let left_out = parts.lines().find_map(|line| line.strip_prefix("NOT_IN_LAMBDA := ")).expect("a line");
    let left_out: BTreeSet<String> = left_out.split(' ').map(str::to_owned).collect();
    assert_eq!(features("yes", "no"), left_out);
    assert_eq!(features("yes", "yes"), built.difference(&left_out).cloned().collect());
    let document = include_str!("../docs/tailscaled.md");
    let (_, missing) = document.split_once("## What is not in it").expect("a section");
    let missing = missing.split("\n## ").next().unwrap_or_default();
    let rows = missing.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let missing: BTreeSet<&str> = rows.flat_map(|cell| cell.split('`').step_by(2)).collect();
    assert!(missing.len() > 10 && missing.iter().all(|feature| !built.contains(*feature)), "{missing:?}");
}
