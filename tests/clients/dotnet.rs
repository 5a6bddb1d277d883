//! Tests .NET's HttpClient by the address given in code.
//!
//! Called from Python, since no compiler of .NET is in the registries.

#![cfg(target_arch = "x86_64")]

use crate::scene::{Scene, assert_printed, page, report};

#[test]
fn dotnets_http_client_over_http_and_over_socks5() {
    let scene = Scene::web().ready();
    assert_printed("dotnet", &scene.run("dotnet"), &[page(), report(), page(), report()]);
}
