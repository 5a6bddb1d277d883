//! Tests Rust's reqwest by the address given in code.
//!
//! With its feature `socks`, and without.

use crate::documented;
use crate::scene::{Scene, assert_printed, page, report};

const PROGRAM: &str = include_str!("../../parts/clients/reqwest/src/main.rs");

#[test]
fn reqwest_over_http_and_over_socks5() {
    let (_, documented) = documented::block("reqwest");
    for line in documented.lines().map(|line| line.trim().replace("\"socks5h://127.0.0.1:1055\"", "proxy")) {
        assert!(PROGRAM.contains(&line), "the program has {line:?}, as the page has it");
    }
    let scene = Scene::web().ready();
    for (proxy, program) in [
        ("http://127.0.0.1:1055", "reqwest"),
        ("http://127.0.0.1:1055", "reqwest-socks"),
        ("socks5h://127.0.0.1:1055", "reqwest-socks"),
    ] {
        let text =
            format!("export PROXY={proxy}\n{program} http://web/\n{program} https://web.tail.test/reports report.csv");
        assert_printed(&text, &scene.run_text(&text, "sh", &text), &[page(), report()]);
    }
    let complaint = scene.fails("PROXY=socks5h://127.0.0.1:1055 reqwest http://web/", "sh");
    assert!(!complaint.is_empty(), "without the feature it says so");
}
