//! Tests serve files as people write them, and the services in them.
//!
//! Real tailscaled takes what is applied, and another node asks. Headscale knows no services: what tailscaled advertises is read
//! from its preferences.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::server::Server;
use testbed::wait::wait_until;
use testbed::{Node, http};

use crate::scene::{END, READY, Scene, connect, start_ready};

/// What the second node gets from port 80 of the daemon's node.
fn fetched(web: &Node) -> Option<String> {
    let answer = http::get(web.dial("app", 80).ok()?, "app.tail.test", "/").ok()?;
    (answer.head.status == 200).then(|| answer.text())
}

#[test]
fn serve_files_are_taken_as_tools_and_people_write_them() {
    let scene = Scene::new();
    let file = tempfile::NamedTempFile::new().expect("file");
    fs::write(file.path(), "").expect("written");
    let daemon = start_ready(scene.daemon().env("TETHERD_SERVE_CONFIG", file.path().to_str().expect("UTF-8")));
    let form = r#"{"TCP":{"80":{"HTTP":true}},"Web":{"${TS_CERT_DOMAIN}:80":{"Handlers":{"/":{"Text":"TEXT"}}}}}"#;
    let forms = [
        form.to_owned(),
        form.replace("${TS_CERT_DOMAIN}", ""),
        form.replace('$', "$$"),
        form.replace("TCP", "tcp").replace("HTTP", "http").replace("Handlers", "handlers").replace("Text", "text"),
        form.replace("\"TCP\"", "\"Services\":null,\"AllowFunnel\":null,\"TCP\""),
        form.replace("\"TCP\"", "\"_comment\":\"mine\",\"//\":\"mine\",\"TCP\""),
        format!("\u{feff}{form}\r\n"),
    ];
    for (number, form) in forms.iter().enumerate() {
        let text = format!("form {number}");
        fs::write(file.path(), form.replace("TEXT", &text)).expect("written");
        let got = || fetched(&scene.web).filter(|got| *got == text);
        wait_until(&format!("{form} is served"), READY, got)
            .unwrap_or_else(|error| panic!("{error}: {}", daemon.stderr()));
    }
}

/// Asks tailscaled's LocalAPI.
fn local_api(socket: &Path, request: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("connects");
    let length = body.len();
    write!(stream, "{request} HTTP/1.1\r\nHost: local-tailscaled.sock\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
        .expect("asks");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    answer
}

/// The services that the node advertises, as JSON writes them.
fn advertised(socket: &Path) -> String {
    let answer = local_api(socket, "GET /localapi/v0/prefs", "");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    // It may come in chunks.
    let json = body.find('{').zip(body.rfind('}')).map_or("{}", |(start, end)| &body[start..=end]);
    serde_json::from_str::<serde_json::Value>(json).expect("JSON")["AdvertiseServices"].to_string()
}

fn until_advertised(socket: &Path, is: &str) {
    let seen = || (advertised(socket) == is).then_some(());
    wait_until(&format!("{is} are advertised"), READY, seen)
        .unwrap_or_else(|error| panic!("{error}: {}", advertised(socket)));
}

#[test]
fn services_are_advertised_stay_after_a_crash_and_are_withdrawn_in_a_drain() {
    let scene = Scene::new();
    let _server = Server::echo(9101).expect("server");
    let directory = tempfile::tempdir().expect("directory");
    let (file, socket) = (directory.path().join("serve.json"), directory.path().join("run/t.sock"));
    let endpoints = r#"{"version": "0.0.1", "services": {
        "svc:web": {"endpoints": {"tcp:80": "http://127.0.0.1:3000"}},
        "svc:off": {"endpoints": {"tcp:80": "tcp://127.0.0.1:3000"}, "advertised": false}}}"#;
    fs::write(&file, endpoints).expect("written");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let mut daemon = start_ready(
        scene
            .daemon()
            .env("TS_SERVE_CONFIG", &text(&file))
            .env("TS_SOCKET", &text(&socket))
            .env("TETHERD_DRAIN_TIMEOUT", "5s"),
    );
    until_advertised(&socket, r#"["svc:web"]"#);
    let served = local_api(&socket, "GET /localapi/v0/serve-config", "");
    assert!(served.contains("svc:off") && served.contains("web.tail.test:80"), "{served}");

    let by_hand = r#"{"AdvertiseServicesSet": true, "AdvertiseServices": ["svc:hand", "svc:web"]}"#;
    local_api(&socket, "PATCH /localapi/v0/prefs", by_hand);
    fs::write(&file, r#"{"Services": {"svc:db": {"TCP": {"5432": {"TCPForward": "127.0.0.1:5432"}}}}}"#)
        .expect("written");
    until_advertised(&socket, r#"["svc:db","svc:hand"]"#);

    let first = daemon.tailscaled_pid().expect("runs");
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("killed");
    // Asked only once another one runs: before the end is noticed the daemon is ready still.
    let is_another = || daemon.tailscaled_pid().is_some_and(|now| now != first);
    let restarted = || (is_another() && daemon.readyz().ok()?.0 == 200).then_some(());
    wait_until("it is ready again", READY, restarted).expect("is ready");
    assert_eq!(advertised(&socket), r#"["svc:db","svc:hand"]"#);

    let _open = connect("127.0.0.1", 9101).expect("a connection that is there to drain");
    daemon.terminate().expect("SIGTERM");
    until_advertised(&socket, r#"["svc:hand"]"#);
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
}

#[test]
fn services_are_not_advertised_where_that_is_off() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().expect("directory");
    let (file, socket) = (directory.path().join("serve.json"), directory.path().join("run/t.sock"));
    fs::write(&file, r#"{"Services": {"svc:db": {}}}"#).expect("written");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let builder = scene.daemon().env("TS_SERVE_CONFIG", &text(&file)).env("TS_SOCKET", &text(&socket));
    let daemon = start_ready(builder.env("TS_EXPERIMENTAL_SERVICE_AUTO_ADVERTISEMENT", "false"));
    let applied = || daemon.stderr().contains("serve_config is applied").then_some(());
    wait_until("the file is applied", READY, applied).expect("is applied");
    assert_eq!(advertised(&socket), "null");
}
