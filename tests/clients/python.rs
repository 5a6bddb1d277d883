//! Tests Python's requests and httpx.

use crate::scene::{Scene, assert_printed, page, report};

#[test]
fn requests_over_socks5h_and_by_the_variables() {
    let scene = Scene::web().ready();
    assert_printed("requests", &scene.run("requests"), &[page(), report()]);
    assert_printed("env-requests", &scene.run("env-requests"), &[page(), page()]);
}

#[test]
fn httpx_over_socks5h_and_by_the_variables() {
    let scene = Scene::web().ready();
    assert_printed("httpx", &scene.run("httpx"), &[page(), report()]);
    assert_printed("env-httpx", &scene.run("env-httpx"), &[page()]);
}

#[test]
fn requests_and_httpx_with_a_password_from_the_variables() {
    let scene = Scene::web().set("TETHERD_SOCKS_USER", "a@pp").set("TETHERD_SOCKS_PASSWORD", "p:a/ss%").ready();
    assert_printed("env-requests", &scene.run("env-requests"), &[page(), page()]);
    assert_printed("env-httpx", &scene.run("env-httpx"), &[page()]);
    let socks = r#"eval "$(tetherd env)"; unset HTTP_PROXY HTTPS_PROXY http_proxy https_proxy"#;
    for library in ["requests", "httpx"] {
        let line = format!("{socks}; python3 -c 'import {library}; print({library}.get(\"http://web/\").text)'");
        assert_printed(library, &scene.run_text(library, "sh", &line), &[page()]);
    }
}
