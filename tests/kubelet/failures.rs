//! Tests that `kubectl describe pod` shows why a pod does not start.

use crate::manifest::{APP, TETHERD};
use crate::scene::{Scene, state};

#[test]
fn a_refused_key_is_in_the_termination_message() {
    let scene = Scene::new();
    scene.keep("auth_key", "not-a-key-of-this-tailnet");
    scene.apply();
    let ended = scene.wait("tetherd has ended", |pod| {
        let tetherd = state(pod, TETHERD);
        let ends = [&tetherd["state"]["terminated"], &tetherd["lastState"]["terminated"]];
        ends.into_iter().find(|end| end.is_object()).cloned()
    });
    assert_eq!(ended["exitCode"], 77, "{ended}");
    let message = ended["message"].as_str().expect("a message");
    assert!(message.contains("the control server refused the auth key"), "{message}");
    let app = scene.wait("a pod", |pod| Some(state(pod, APP)));
    assert!(app["state"]["waiting"].is_object(), "{app}");
}
