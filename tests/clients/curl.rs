//! Tests curl, over each of its ways to a proxy.

use crate::documented;
use crate::scene::{Scene, assert_printed, page, report};

#[test]
fn curl_over_socks5_sends_the_name_or_an_address() {
    let scene = Scene::web().ready();
    assert_printed("curl-socks5h", &scene.run("curl-socks5h"), &[page(), report()]);
    let (v4, v6) = scene.node.addresses();
    assert_eq!(v4.to_string(), "100.64.0.1", "the address in docs/clients.md");
    assert_printed("curl-socks5", &scene.run("curl-socks5"), &[page()]);
    let line = format!("curl --proxy socks5://127.0.0.1:1055 http://[{v6}]/");
    assert_printed("IPv6", &scene.run_text("IPv6", "sh", &line), &[page()]);
}

#[test]
fn curl_over_http_asks_for_the_whole_address_or_a_tunnel() {
    let scene = Scene::web().ready();
    assert_printed("curl-http", &scene.run("curl-http"), &[page(), report()]);
    assert_printed("curl-connect", &scene.run("curl-connect"), &[page(), report()]);
}

#[test]
fn curl_over_a_unix_socket() {
    let scene = Scene::web();
    let directory = scene.path("bin").to_string_lossy().into_owned();
    let (name, value) = documented::setting("unix-setting");
    let (_, line) = documented::block("curl-unix");
    assert!(value.contains("/run/tetherd/") && line.contains("/run/tetherd/"), "both name the same place");
    let scene = scene.set(&name, &value.replace("/run/tetherd", &directory)).ready();
    let printed = scene.run_text("curl-unix", "sh", &line.replace("/run/tetherd", &directory));
    assert_printed("curl-unix", &printed, &[page()]);
}

#[test]
fn curl_with_a_password_and_by_the_variables() {
    let scene = Scene::web().set("TETHERD_SOCKS_USER", "app").set("TETHERD_SOCKS_PASSWORD", "p@ss word").ready();
    assert_printed("curl-password", &scene.run("curl-password"), &[page(), page()]);
    assert_printed("env-curl", &scene.run("env-curl"), &[page(), report()]);
    let (_, lines) = documented::block("curl-password");
    let (socks, http) = lines.split_once("\n").expect("two lines");
    for (line, part) in [(socks, "rejected by the SOCKS5 server"), (http, "407")] {
        let wrong = line.replace("p@ss word", "wrong").replace("curl ", "curl --silent --show-error --fail ");
        let complaint = scene.fails(&wrong, "sh");
        assert!(complaint.contains(part), "{complaint}");
    }
}
