//! Tests what `tetherd check` makes of environments made for other programs.
//!
//! Each is a row of data: those of the tests of Tailscale's own image, and those that people really have.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Output;

use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::scene::command;

/// An environment, and what is expected of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// The test that the row is from.
    table: String,
    name: String,
    env: BTreeMap<String, String>,
    /// Content of a file that TS_SERVE_CONFIG names.
    serve: Option<String>,
    /// Exit code of `check`.
    #[serde(default)]
    code: i32,
    /// What the line of a setting holds, by the setting. `{file}` stands for the path of the file.
    #[serde(default)]
    shown: BTreeMap<String, String>,
    /// What stderr holds.
    #[serde(default)]
    says: Vec<String>,
    /// What stderr does not hold.
    #[serde(default)]
    silent: Vec<String>,
    /// What differs, for the reader.
    #[serde(default, rename = "note")]
    _note: String,
}

#[derive(Deserialize)]
struct Rows {
    row: Vec<Row>,
}

fn rows(text: &str) -> Vec<Row> {
    let Rows { row } = Figment::from(Toml::string(text)).extract().expect("rows");
    row
}

/// Runs `check` in the row's environment.
fn checked(row: &Row, file: Option<&NamedTempFile>) -> Output {
    let mut check = command(&["check"]);
    check.envs(&row.env);
    if let Some(file) = file {
        check.env("TS_SERVE_CONFIG", file.path());
    }
    check.output().expect("runs")
}

/// Says what is not as the row expects; empty where everything is.
fn differences(row: &Row) -> Vec<String> {
    let file = row.serve.as_ref().map(|text| {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    });
    let output = checked(row, file.as_ref());
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let mut found = Vec::new();
    if output.status.code() != Some(row.code) {
        found.push(format!("ends with {:?}, not {}: {stderr}", output.status.code(), row.code));
    }
    for (key, value) in &row.shown {
        let value = value.replace("{file}", file.as_ref().and_then(|file| file.path().to_str()).unwrap_or_default());
        let line = stdout.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap_or_default();
        if !line.contains(&format!("= {value}")) {
            found.push(format!("{line:?} does not show {value:?}"));
        }
    }
    found.extend(
        row.says.iter().filter(|part| !stderr.contains(*part)).map(|part| format!("no {part:?} in {stderr:?}")),
    );
    found.extend(row.silent.iter().filter(|part| stderr.contains(*part)).map(|part| format!("{part:?} in {stderr:?}")));
    found
}

/// Fails with all rows that differ.
fn assert_all(rows: &[Row]) {
    let wrong = rows.iter().flat_map(|row| {
        differences(row)
            .into_iter()
            .map(move |difference| format!("{} {} {:?}: {difference}", row.table, row.name, row.env))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_row_of_the_tests_of_tailscales_image_gives_the_same_or_a_named_answer() {
    let rows = rows(include_str!("data/containerboot.toml"));
    let names: BTreeSet<_> = rows.iter().map(|row| (&row.table, &row.name)).collect();
    assert_eq!(names.len(), 98, "each row of theirs is here");
    assert_all(&rows);
}

#[test]
fn environments_that_people_have_are_taken_or_refused_by_name() {
    assert_all(&rows(include_str!("data/environments.toml")));
}
