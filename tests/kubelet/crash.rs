//! Tests that the application outlives a crash of tetherd.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::manifest::{APP, POD, TETHERD};
use crate::scene::{Scene, state};

#[test]
fn tetherd_that_is_killed_comes_back_as_the_same_node_and_the_application_is_not_restarted() {
    let scene = Scene::new();
    scene.running();
    let before = scene.wait("a pod", |pod| Some(state(pod, APP)));
    let node = scene.tailnet.node(POD).expect("nodes").expect("has joined");

    let pid = scene.kubelet.pid(TETHERD).expect("runs");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("killed");
    let back = scene.wait("tetherd is back and ready", |pod| {
        let tetherd = state(pod, TETHERD);
        (tetherd["restartCount"] == 1 && tetherd["ready"] == true).then_some(tetherd)
    });
    assert_eq!(back["lastState"]["terminated"]["exitCode"], 137, "{back}");
    let asked = scene.asked("/again");
    scene.wait("a request after it", |_| (scene.asked("/again") >= asked + 2).then_some(()));

    let after = scene.wait("a pod", |pod| Some(state(pod, APP)));
    assert_eq!(after["restartCount"], 0, "{after}");
    assert_eq!(after["containerID"], before["containerID"]);
    let again = scene.tailnet.node(POD).expect("nodes").expect("is there");
    assert_eq!((again.id, again.addresses), (node.id, node.addresses));
}
