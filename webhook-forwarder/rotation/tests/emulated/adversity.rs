//! Tests a control server that refuses, deleted keys, and steps out of order.

use serde_json::json;

use crate::control_api::CLIENT_SECRET;
use crate::scene::{STEPS, step};
use crate::tailscale::{current_id, scene, start};

#[test]
fn an_api_that_refuses_fails_the_step_with_its_reason_and_the_step_can_be_repeated() {
    let (mut scene, api) = scene("Cattle");
    let function = start(&scene, &api);
    scene.rotate(&function);
    scene.rotate(&function);
    for (round, status) in (3..).zip([401, 403, 429, 500, 503]) {
        let version = scene.begin();
        for name in STEPS {
            let before = current_id(&scene);
            api.refuse(Some(status));
            let asks = name != "setSecret";
            match step(&function, name, &version) {
                Err(error) => {
                    assert!(asks && error.contains(&format!("{status} to the OAuth client: not now")), "{error}");
                    assert!(!error.contains(CLIENT_SECRET), "{error}");
                }
                Ok(()) => assert!(!asks, "{name} with {status}"),
            }
            // The new key is current before the old one is deleted.
            assert!(current_id(&scene) == before || name == "finishSecret", "{name}");
            assert!(api.keys().contains(&current_id(&scene)));
            api.refuse(None);
            step(&function, name, &version).unwrap_or_else(|error| panic!("{name} after {status}: {error}"));
        }
        assert_eq!(api.keys(), [round - 1, round].map(|number| format!("k{number}CNTRL")), "{status}");
    }
    assert!(!function.log().contains(CLIENT_SECRET), "{}", function.log());
}

#[test]
fn keys_deleted_by_hand_stop_no_rotation_but_the_one_that_was_to_become_current() {
    let (mut scene, api) = scene("Cattle");
    let function = start(&scene, &api);
    for _ in 0..3 {
        scene.rotate(&function);
    }
    let version = scene.begin();
    step(&function, "createSecret", &version).expect("a key");
    api.delete("k4CNTRL");
    step(&function, "createSecret", &version).expect("its version is filled");
    let error = step(&function, "testSecret", &version).expect_err("it is gone");
    assert!(error.contains("knows no such key"), "{error}");
    assert_eq!(current_id(&scene), "k3CNTRL");
    assert!(!scene.stages().to_string().contains("AWSPENDING"), "the next rotation is not held up by it");
    api.delete("k2CNTRL");
    api.delete("k3CNTRL");
    scene.rotate(&function);
    scene.rotate(&function);
    assert_eq!(
        (current_id(&scene).as_str(), api.keys()),
        ("k6CNTRL", ["k5CNTRL", "k6CNTRL"].map(String::from).to_vec())
    );
}

#[test]
fn steps_out_of_order_and_of_versions_that_are_not_staged_change_nothing() {
    let (mut scene, api) = scene("Cattle");
    let function = start(&scene, &api);
    let first = scene.rotate(&function);
    let second = scene.rotate(&function);
    for (version, name) in STEPS.map(|name| (first.as_str(), name)).into_iter().chain(STEPS.map(|name| ("", name))) {
        let error = step(&function, name, version).expect_err("it is no version of this rotation");
        assert!(error.contains("AWSPENDING"), "{name}: {error}");
    }
    let version = scene.begin();
    for name in ["setSecret", "testSecret", "finishSecret"] {
        let error = step(&function, name, &version).expect_err("there is no key");
        assert!(error.contains("createSecret comes first"), "{name}: {error}");
    }
    assert!(step(&function, "rotateSecret", &version).is_err(), "no such step");
    assert_eq!(scene.stages()[&second], json!(["AWSCURRENT"]));
    assert_eq!(api.keys(), ["k1CNTRL", "k2CNTRL"]);
}
