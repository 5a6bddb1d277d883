//! README and `--help` name every setting, and none that does not exist.

use std::collections::BTreeSet;
use std::process::Command;

use tetherd::config::key::KEYS;

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

#[test]
fn help_lists_every_setting_and_no_other() {
    let output = Command::new(env!("CARGO_BIN_EXE_tetherd")).args(["check", "--help"]).output().expect("runs");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    let flags: BTreeSet<String> = flags.map(|flag| flag.trim_end_matches([',', ':']).replace('-', "_")).collect();
    let others = BTreeSet::from(["config", "help", "version"].map(str::to_owned));
    assert_eq!(flags.difference(&others).cloned().collect::<BTreeSet<_>>(), table());
}
