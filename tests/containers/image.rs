//! Tests what is in the container image, and what is not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use serde_json::json;
use testbed::image::{IMAGE, build, repository};
use testbed::parts;

use crate::scene::{Scene, engine, layer};

const LARGEST: usize = 13_000_000;
/// In no image that has these can a stranger do much.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "busybox", "python3"];

fn tool(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The layer's files, unpacked with owners and modes.
fn unpacked() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let (tar, place) = (layer().display().to_string(), directory.path().display().to_string());
    tool("tar", &["--extract", "--preserve-permissions", "--numeric-owner", "--file", &tar, "--directory", &place]);
    directory
}

/// Every path with its metadata.
fn files(directory: &std::path::Path) -> BTreeMap<String, fs::Metadata> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("reads") {
            let path = entry.expect("reads").path();
            let metadata = fs::symlink_metadata(&path).expect("is there");
            if metadata.is_dir() {
                left.push(path.clone());
            }
            found.insert(path.strip_prefix(directory).expect("below").display().to_string(), metadata);
        }
    }
    found
}

#[test]
fn it_holds_two_static_programs_and_the_licences_and_no_shell() {
    let image = unpacked();
    let files = files(image.path());
    let programs: Vec<_> =
        files.iter().filter(|(_, file)| file.is_file() && file.mode() & 0o111 != 0).map(|(path, _)| path).collect();
    assert_eq!(programs, ["tailscaled", "tetherd"]);
    for program in programs {
        let headers =
            tool("readelf", &["--wide", "--program-headers", &image.path().join(program).display().to_string()]);
        assert!(!String::from_utf8_lossy(&headers).contains("INTERP"), "{program} needs a loader");
    }
    for shell in SHELLS {
        assert!(!files.keys().any(|path| path.rsplit('/').next() == Some(shell)), "{shell}");
    }
    for licence in ["LICENSE", "NOTICE", "third-party.txt"] {
        assert!(files.contains_key(&format!("usr/share/licenses/tetherd/{licence}")), "{licence}");
    }
    let texts = fs::read_to_string(image.path().join("usr/share/licenses/tetherd/third-party.txt")).expect("text");
    for linked in ["hyper ", "tokio ", "tailscale.com ", "gvisor.dev/gvisor "] {
        assert!(texts.lines().any(|line| line.starts_with(linked)), "{linked}");
    }
}

#[test]
fn nothing_in_it_is_set_uid_and_its_user_may_write_to_the_state_alone() {
    let image = unpacked();
    for (path, file) in files(image.path()) {
        assert_eq!(file.mode() & 0o7000, 0, "{path} has mode {:o}", file.mode());
        let of_the_user = path == "var/lib/tetherd";
        assert_eq!((file.uid(), file.gid()), if of_the_user { (65532, 65532) } else { (0, 0) }, "{path}");
        assert!(of_the_user || file.mode() & 0o022 == 0, "{path} has mode {:o}", file.mode());
    }
}

#[test]
fn its_programs_can_be_run_and_not_read_by_its_user() {
    let image = unpacked();
    let files = files(image.path());
    for program in ["tailscaled", "tetherd"] {
        assert_eq!(files[program].mode() & 0o7777, 0o711, "{program}");
    }
}

#[test]
fn its_settings_are_those_that_orchestrators_read() {
    testbed::netns::enter_new().expect("a network namespace");
    let engine = engine();
    let config = engine.inspect(IMAGE).expect("is there")["Config"].clone();
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/tetherd"]));
    assert_eq!(config["Cmd"], json!(null));
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/tetherd", "healthcheck"]));
    assert_eq!(config["Labels"]["org.opencontainers.image.title"], "tetherd");
    assert_eq!(config["Labels"]["org.opencontainers.image.licenses"], "Apache-2.0");
    assert_eq!(config["Volumes"], json!(null));
    // As a registry keeps it.
    let tar = format!("docker save {IMAGE} | gzip -9 | wc -c");
    let output = engine.command("sh").args(["-c", &tar]).output().expect("runs");
    let size: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    eprintln!("the image is {size} bytes, compressed");
    assert!((1_000_000..=LARGEST).contains(&size), "{size} bytes");
}

#[test]
fn the_same_programs_give_the_same_layer() {
    testbed::netns::enter_new().expect("a network namespace");
    let engine = engine();
    let image = unpacked();
    let again = image.path().join("again.tar").display().to_string();
    let part = |name: &str| {
        // A copy has other times, owners and modes.
        let copy = image.path().join(format!("copy/{name}"));
        fs::create_dir_all(copy.parent().expect("a parent")).expect("is made");
        fs::write(&copy, fs::read(image.path().join(name)).expect("reads")).expect("writes");
        copy.display().to_string()
    };
    let script = repository("docker/rootfs.py").display().to_string();
    let licences = ["LICENSE", "NOTICE", "third-party.txt"].map(|name| format!("usr/share/licenses/tetherd/{name}"));
    let inputs = ["tetherd", "tailscaled"].iter().map(|name| part(name));
    let inputs: Vec<String> = inputs
        .collect::<Vec<_>>()
        .into_iter()
        .chain(licences.iter().map(|path| {
            fs::create_dir_all(image.path().join("copy/usr/share/licenses/tetherd")).expect("is made");
            part(path)
        }))
        .collect();
    let mut arguments = vec![script.as_str(), &again];
    arguments.extend(inputs.iter().map(String::as_str));
    tool("python3", &arguments);
    build(&engine, again.as_ref(), "again").expect("builds");
    let layers = |tag: &str| engine.inspect(tag).expect("is there")["RootFS"]["Layers"].clone();
    assert_eq!(layers("again"), layers(IMAGE));
    assert_eq!(layers(IMAGE).as_array().map(Vec::len), Some(1));
}

#[test]
fn make_image_gives_the_same_image_again_and_it_runs_as_users_are_told() {
    let scene = Scene::new();
    let layers = |tag: &str| scene.engine.inspect(tag).expect("is there")["RootFS"]["Layers"].clone();
    let packed = layers(IMAGE);
    let target = layer().ancestors().nth(3).expect("a target directory").to_owned();
    let mut make = scene.engine.command("make");
    make.arg("-C").arg(repository("")).arg("image").env("CARGO_TARGET_DIR", target);
    for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "GOFLAGS"] {
        make.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let output = make.output().expect("make runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let version = format!("{IMAGE}:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!((layers(&version), layers(IMAGE)), (packed.clone(), packed), "two packings differ");
    // Read-only, without capabilities, with 256 MB.
    scene.run_healthy(&[]);
    let status = scene.engine.docker(&["exec", "app", "/tetherd", "status"]).expect("answers");
    assert!(status.contains("app.tail.test"), "{status}");
}

#[test]
fn tailscaled_is_the_small_build() {
    let small = fs::metadata(unpacked().path().join("tailscaled")).expect("is there").len();
    let stock = fs::metadata(parts::find("tailscaled").expect("make parts")).expect("is there").len();
    assert!(small * 4 < stock * 3, "{small} of {stock} bytes");
}
