//! Tests that the application starts once tetherd's startup probe has passed.
//!
//! The application's first request finds the tailnet.

use std::fs;

use crate::manifest::{APP, TETHERD};
use crate::scene::{Scene, state};

#[test]
fn the_application_starts_only_when_the_tailnet_is_there_and_reaches_it_by_name() {
    let mut scene = Scene::new();
    scene.tailnet.stop_control();
    scene.apply();
    scene.wait("three startup probes have failed", |_| (scene.failed_startup_probes() >= 3.0).then_some(()));
    let waiting = scene.wait("a pod", |pod| Some(pod.clone()));
    assert!(state(&waiting, TETHERD)["state"]["running"].is_object(), "{waiting}");
    assert_eq!(state(&waiting, TETHERD)["started"], false, "{waiting}");
    assert_eq!(state(&waiting, APP)["state"]["waiting"]["reason"], "PodInitializing", "{waiting}");

    scene.tailnet.start_control().expect("is back");
    let running =
        scene.wait("the application runs", |pod| state(pod, APP)["state"]["running"].is_object().then(|| pod.clone()));
    assert_eq!(state(&running, TETHERD)["started"], true, "{running}");
    scene.wait("its first request", |_| (scene.asked("/first") == 1).then_some(()));
    assert_eq!(state(&running, TETHERD)["restartCount"], 0, "{running}");
    // It would have ended if its first request had failed.
    scene.wait("more requests", |_| (scene.asked("/again") >= 2).then_some(()));
    let after = scene.wait("a pod", |pod| Some(pod.clone()));
    assert_eq!(state(&after, APP)["restartCount"], 0, "{after}");
}

#[test]
fn tetherd_has_no_right_that_it_could_lose() {
    let scene = Scene::new();
    scene.running();
    let pid = scene.kubelet.pid(TETHERD).expect("runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("runs");
    for line in [
        "Uid:\t65532\t65532\t65532\t65532",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line} is missing in {status}");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).expect("runs");
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
    assert!(root.split(' ').nth(5).is_some_and(|options| options.starts_with("ro")), "{root}");
}
