//! Reads the blocks of docs/clients.md, so that tests run what a reader sees.
//!
//! The second word after the backquotes names a block for the tests.

use std::collections::BTreeSet;

use testbed::tailnet::BASE_DOMAIN;

const PAGE: &str = include_str!("../../docs/clients.md");

/// Language, name and text of every block.
fn blocks() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    PAGE.split("\n```").skip(1).step_by(2).map(|block| {
        let (head, text) = block.split_once('\n').expect("a block has lines");
        let (language, name) = head.split_once(' ').unwrap_or_else(|| panic!("the block {head:?} has no name"));
        (language, name, text)
    })
}

/// Language and text of one block, with the test's own tailnet in place of the reader's.
pub fn block(wanted: &str) -> (&'static str, String) {
    let mut found = blocks().filter(|(_, name, _)| *name == wanted);
    let (language, _, text) = found.next().unwrap_or_else(|| panic!("docs/clients.md has no block {wanted}"));
    assert!(found.next().is_none(), "docs/clients.md has two blocks {wanted}");
    (language, text.replace("tail1234.ts.net", BASE_DOMAIN))
}

/// Name and value of a block that is one setting.
pub fn setting(wanted: &str) -> (String, String) {
    let (_, text) = block(wanted);
    let line = text.trim().strip_prefix("export ").expect("one export");
    let (name, value) = line.split_once('=').expect("name and value");
    (name.to_owned(), value.to_owned())
}

#[test]
fn every_block_is_run_by_a_test() {
    let sources = [
        include_str!("curl.rs"),
        include_str!("dig.rs"),
        include_str!("dotnet.rs"),
        include_str!("go.rs"),
        include_str!("grpc.rs"),
        include_str!("java.rs"),
        include_str!("kafka.rs"),
        include_str!("mongodb.rs"),
        include_str!("mysql.rs"),
        include_str!("node.rs"),
        include_str!("psql.rs"),
        include_str!("python.rs"),
        include_str!("redis.rs"),
        include_str!("reqwest.rs"),
        include_str!("ssh.rs"),
    ]
    .concat();
    let names: BTreeSet<_> = blocks().map(|(_, name, _)| name).collect();
    assert!(names.len() > 20, "the page is read: {names:?}");
    let unused: Vec<_> = names.into_iter().filter(|name| !sources.contains(&format!("\"{name}\""))).collect();
    assert_eq!(unused, [""; 0], "blocks that no test runs");
}
