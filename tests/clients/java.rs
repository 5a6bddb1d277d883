//! Tests Java, whose sockets take `-DsocksProxyHost`.

use crate::scene::{Scene, assert_printed, page, report};

#[test]
fn java_over_socks() {
    let scene = Scene::web().ready();
    assert_printed("java-socks", &scene.run("java-socks"), &[page(), report()]);
}

/// It asks each target for HTTP/2 over the same connection, which it would use for others.
#[test]
fn javas_http_client_over_http() {
    let scene = Scene::web().ready();
    assert_printed("java-client", &scene.run("java-client"), &[page(), report()]);
}

/// As Lambda calls the wrapper, with a second wrapper and options of the user's.
#[test]
fn java_under_the_wrapper_needs_no_word_about_proxies() {
    let scene = Scene::web().ready();
    std::fs::write(scene.path("bin/second"), "#!/bin/sh\nexec \"$@\"\n").expect("written");
    let text = "chmod +x bin/second
JAVA_TOOL_OPTIONS=-Xmx200m tetherd \"$(command -v java)\" Fetch.java http://web/
export TETHERD_EXEC_WRAPPER_NEXT=\"$PWD/bin/second\"
tetherd \"$(command -v java)\" Fetch.java http://web/";
    assert_printed("java", &scene.run_text("java", "sh", text), &[page(), page()]);
    std::fs::write(
        scene.path("bin/second"),
        "#!/bin/sh\necho \"second: $1 ${TETHERD_EXEC_WRAPPER_NEXT-none} $HTTP_PROXY\"\n",
    )
    .expect("written");
    let text = "TETHERD_EXEC_WRAPPER_NEXT=\" $PWD/bin/second\" tetherd /bin/true
! TETHERD_EXEC_WRAPPER_NEXT=/no/such tetherd /bin/true 2>&1";
    let said = scene.run_text("wrappers", "sh", text);
    assert!(said.starts_with("second: /bin/true none http://127.0.0.1:1055\n"), "{said}");
    assert!(said.contains("/no/such (from TETHERD_EXEC_WRAPPER_NEXT) cannot be started"), "{said}");
}

#[test]
fn java_over_http_and_https() {
    let scene = Scene::web().ready();
    assert_printed("java-http", &scene.run("java-http"), &[page()]);
    assert_printed("java-https", &scene.run("java-https"), &[page()]);
}
