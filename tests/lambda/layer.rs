//! Tests the layer as `make layer` has built it.
//!
//! What is in it, that it runs where Lambda runs, and in what size.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use testbed::parts;
use zip::ZipArchive;

use crate::scene::{Scene, URL, function};

/// glibc of Amazon Linux 2.
const OLDEST: (u32, u32) = (2, 26);
const LARGEST: u64 = 10_500_000;

fn zip(architecture: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    target.join(format!("layer/tetherd-layer-{architecture}.zip"))
}

/// The architectures of which there is a layer. That of arm64 is built where Rust has the target.
fn built() -> Vec<&'static str> {
    let (there, missing): (Vec<_>, Vec<_>) = ["x86_64", "arm64"].into_iter().partition(|it| zip(it).is_file());
    assert!(there.contains(&"x86_64"), "{} is missing: run `make layer`", zip("x86_64").display());
    missing.iter().for_each(|architecture| eprintln!("not tested: there is no layer for {architecture}"));
    there
}

fn unpacked_of(architecture: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let file = File::open(zip(architecture)).expect("run `make layer`");
    ZipArchive::new(file).and_then(|mut archive| archive.extract(directory.path())).expect("unpacks");
    directory
}

/// The layer of this machine as Lambda unpacks it.
pub fn unpacked() -> tempfile::TempDir {
    unpacked_of("x86_64")
}

#[test]
fn it_is_small_and_has_the_extension_tailscaled_the_wrapper_and_the_licences() {
    for architecture in built() {
        assert!(fs::metadata(zip(architecture)).expect("is there").len() <= LARGEST, "{architecture}");
    }
    let layer = unpacked();
    for file in
        ["extensions/tetherd", "bin/tailscaled", "share/tetherd/LICENSE", "share/tetherd/third-party-x86_64.txt"]
    {
        assert!(fs::symlink_metadata(layer.path().join(file)).expect(file).is_file(), "{file}");
    }
    let link = fs::read_link(layer.path().join("bin/tetherd")).expect("a link");
    assert_eq!(link, Path::new("../extensions/tetherd"));
    // Whatever stands in extensions/ is started by Lambda.
    assert_eq!(fs::read_dir(layer.path().join("extensions")).expect("is there").count(), 1);
    let licences = fs::read_to_string(layer.path().join("share/tetherd/third-party-x86_64.txt")).expect("text");
    for linked in ["hyper ", "tokio ", "tailscale.com ", "gvisor.dev/gvisor "] {
        assert!(licences.lines().any(|line| line.starts_with(linked)), "{linked}");
    }
}

#[test]
fn it_needs_no_glibc_newer_than_that_of_amazon_linux_2() {
    for architecture in built() {
        let layer = unpacked_of(architecture);
        let tetherd = glibc_needed_by(&layer.path().join("extensions/tetherd"));
        assert!(!tetherd.is_empty(), "it is linked with glibc");
        assert!(tetherd.iter().all(|version| *version <= OLDEST), "{architecture}: {tetherd:?}");
        assert_eq!(glibc_needed_by(&layer.path().join("bin/tailscaled")), [], "it is static");
    }
}

fn glibc_needed_by(program: &Path) -> Vec<(u32, u32)> {
    let output = Command::new("readelf").args(["--wide", "--version-info"]).arg(program).output();
    let text = String::from_utf8(output.expect("readelf runs").stdout).expect("text");
    text.split("GLIBC_").skip(1).filter_map(version).collect()
}

/// `2.17` of `2.17 (4)`; `None` for GLIBC_PRIVATE.
fn version(text: &str) -> Option<(u32, u32)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let mut parts = text[..end].split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What `make layer-again` shows by a second build, from another directory, begins here: where they were built is in neither.
#[test]
fn its_programs_do_not_name_the_directory_that_they_were_built_in() {
    let layer = unpacked();
    let root = env!("CARGO_MANIFEST_DIR");
    let home = std::env::var("HOME").expect("a home");
    for program in ["extensions/tetherd", "bin/tailscaled"] {
        let bytes = fs::read(layer.path().join(program)).expect(program);
        for place in [format!("{root}/"), format!("{home}/.cargo"), format!("{home}/go/")] {
            let found = memchr::memmem::find(&bytes, place.as_bytes());
            assert_eq!(found, None, "{program} names {place}");
        }
    }
}

#[test]
fn the_same_input_packs_to_the_same_bytes() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lambda-layer/pack.py");
    let packer = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory").join("tools/zopfli");
    let pack = |name: &str, copy: &Path| {
        let zip = directory.path().join(name);
        let mut python = Command::new("python3");
        python.arg(&script).arg(&zip).arg(copy).args(["/bin/true", "/bin/false"]).env("PYTHONPATH", &packer);
        assert!(python.status().expect("runs").success());
        fs::read(zip).expect("is there")
    };
    let program = Path::new("/bin/sh");
    let copy = directory.path().join("copy");
    fs::write(&copy, fs::read(program).expect("reads")).expect("writes");
    assert_eq!(pack("one.zip", program), pack("two.zip", &copy), "times and modes of the input do not count");
    assert_ne!(pack("one.zip", program), pack("two.zip", Path::new("/bin/true")));
}

#[test]
fn tailscaled_has_the_features_that_the_extension_needs() {
    let layer = unpacked();
    let small = fs::metadata(layer.path().join("bin/tailscaled")).expect("is there").len();
    let stock = fs::metadata(parts::find("tailscaled").expect("make parts")).expect("is there").len();
    assert!(small * 4 < stock * 3, "{small} of {stock} bytes");
    let scene = Scene::new();
    let environment = function("python3", "function.py")
        .layer_of(layer.path())
        .and_then(|builder| builder.joining(&scene.tailnet))
        .and_then(|builder| builder.start())
        .expect("starts");
    let answer = environment.invoke(&json!({ "get": URL })).expect("answers");
    assert_eq!(answer["status"], 200, "{}", environment.log());
    environment.shut_down().expect("ends");
    assert!(scene.tailnet.node("my-function").expect("headscale answers").is_none());
}
