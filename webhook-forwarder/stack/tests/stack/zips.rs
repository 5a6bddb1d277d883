//! Tests what `sam deploy` uploads.
//!
//! `make functions` has built it by `sam build`.

use std::fs::{self, File};

use crate::expanded::target;

const LIMIT: u64 = 3_000_000;

#[test]
fn each_function_s_zip_holds_one_program_and_is_under_3_mb() {
    for function in ["AuthorizerFunction", "ForwarderFunction", "RotationFunction"] {
        for architecture in architectures() {
            let path = target().join(format!("webhook/{architecture}/{function}.zip"));
            let file = File::open(&path).unwrap_or_else(|error| {
                panic!("{}: {error}; run `make functions`", path.display());
            });
            let size = fs::metadata(&path).expect("a size").len();
            eprintln!("{architecture} {function}: {size} bytes");
            assert!(size < LIMIT, "{function} for {architecture} has {size} bytes");
            let mut zip = zip::ZipArchive::new(file).expect("a zip");
            let names: Vec<String> = zip.file_names().map(|name| name.expect("a name").into_owned()).collect();
            assert_eq!(names, ["bootstrap"], "{function}");
            let mode = zip.by_index(0).expect("a file").unix_mode().expect("a mode");
            assert_eq!(mode & 0o111, 0o111, "{function} cannot be run");
        }
    }
}

/// x86_64 always; arm64 where Rust has the target, as for the layer.
fn architectures() -> Vec<&'static str> {
    let is_built = target().join("webhook/arm64").is_dir();
    if is_built { vec!["x86_64", "arm64"] } else { vec!["x86_64"] }
}
