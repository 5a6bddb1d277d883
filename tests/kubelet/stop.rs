//! Tests the deletion of a pod: the application ends first, with the tailnet there.

use std::thread;
use std::time::Instant;

use testbed::kubernetes::Line;

use crate::manifest::{APP, POD, TETHERD};
use crate::scene::{SOON, Scene};

fn ended(scene: &Scene, container: &str) -> Vec<Line> {
    scene.kubelet.wait_ended(POD, container, SOON).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn on_deletion_the_application_ends_first_and_the_node_leaves_the_tailnet() {
    let scene = Scene::new();
    scene.running();
    let deleted = Instant::now();
    scene.kubelet.delete(POD).expect("deleted");
    let (mut app, mut tetherd) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| app = ended(&scene, APP));
        scope.spawn(|| tetherd = ended(&scene, TETHERD));
    });
    eprintln!("the pod had ended {:?} after its deletion", deleted.elapsed());
    assert_eq!(scene.asked("/last"), 1, "the application's last request was lost: {app:?}");
    let last = app.iter().find(|line| line.text.contains("the last request was answered")).expect("a line");
    let told = tetherd.iter().find(|line| line.text.contains("Draining")).expect("tetherd was told to stop");
    // Both are RFC 3339 of the same clock and zone.
    assert!(last.time < told.time, "tetherd was told to stop at {}, the application ended at {}", told.time, last.time);
    assert!(scene.tailnet.node(POD).expect("nodes").is_none(), "the node is still there");
}
