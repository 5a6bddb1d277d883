//! Tests promise 11: variables that name tetherd's own listener.
//!
//! They do not keep it from starting.
//! They are those of the image or of an `env_file` that the application and tetherd share. The control server is not on loopback,
//! which nobody reaches by a proxy.

use testbed::netns::OWN_ADDRESS;

use crate::scene::{END, Scene, inherited, start_ready};

/// Starts a daemon with these variables and that control server; returns what tailscaled inherits, and the log.
fn ready_with(scene: &Scene, variables: &[(&str, &str)]) -> (String, String) {
    let control = scene.tailnet.control_url_outside_loopback();
    let builder = scene.daemon().env("TETHERD_CONTROL_URL", &control);
    let mut daemon = start_ready(variables.iter().fold(builder, |builder, (name, value)| builder.env(name, value)));
    let seen = (inherited(&daemon), daemon.stderr());
    daemon.terminate().expect("SIGTERM");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(0));
    seen
}

#[test]
fn promise_11_a_proxy_variable_that_names_the_own_listener_is_left_out_and_said_once() {
    let scene = Scene::new();
    let everywhere = [("TETHERD_SOCKS_LISTEN", "0.0.0.0:1055"), ("TETHERD_ALLOW_OPEN_PROXY", "true")];
    let interface = format!("http://{OWN_ADDRESS}:1055");
    for (name, value, beside) in [
        ("HTTPS_PROXY", "http://127.0.0.1:1055", &[][..]),
        ("https_proxy", "socks5h://localhost:1055", &[]),
        ("HTTPS_PROXY", "http://[::1]:1055", &[]),
        ("HTTPS_PROXY", interface.as_str(), &everywhere),
        ("HTTPS_PROXY", "http://app:twelve-chars@127.0.0.1:1055", &[("ALL_PROXY", "socks5://127.0.0.1:1055")]),
    ] {
        let (inherited, log) = ready_with(&scene, &[&[(name, value)], beside].concat());
        assert!(!inherited.contains(name) && !inherited.contains("ALL_PROXY"), "{name}={value}: {inherited}");
        assert_eq!(log.matches(name).count(), 1, "{name}={value}: {log}");
        assert!(log.contains("own listener") && !log.contains("twelve-chars"), "{log}");
    }
}

/// Nobody listens there: had it been left out, the daemon would get ready.
#[test]
fn promise_11_another_proxy_is_not_left_out() {
    let scene = Scene::new();
    let control = scene.tailnet.control_url_outside_loopback();
    let builder = scene.daemon().env("TETHERD_CONTROL_URL", &control).env("TETHERD_START_TIMEOUT", "3s");
    let mut daemon = builder.env("HTTPS_PROXY", "http://127.0.0.1:1056").start().expect("starts");
    assert_eq!(daemon.wait_exit(END).expect("ends").code(), Some(69));
    assert!(!daemon.stderr().contains("own listener"), "{}", daemon.stderr());
}
