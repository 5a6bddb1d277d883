//! The container image, built by a Docker engine of the test's own.
//!
//! It is built from the layer that `make image-layer` has packed, with an image of Debian's busybox for what runs
//! beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::docker::Engine;

/// What `make image` calls it, too.
pub const IMAGE: &str = "tetherd";
/// By the name of the image on Docker Hub.
pub const BUSYBOX: &str = "busybox:1.37";

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The packed layer.
pub fn layer() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/debug/deps/PROGRAM
    let target = program.ancestors().nth(3).context("no target directory")?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let layer = target.join(format!("docker/{architecture}/rootfs.tar"));
    ensure!(layer.is_file(), "{} is missing: run `make image-layer`", layer.display());
    Ok(layer)
}

/// Builds docker/Dockerfile.local around `layer`.
pub fn build(engine: &Engine, layer: &Path, tag: &str) -> Result<()> {
    let context = TempDir::new()?;
    fs::copy(layer, context.path().join("rootfs.tar"))?;
    let dockerfile = repository("docker/Dockerfile.local").display().to_string();
    let directory = context.path().display().to_string();
    engine.docker(&["build", "--file", &dockerfile, "--tag", tag, "--network=none", &directory]).map(drop)
}

/// [`BUSYBOX`] with its programs `sh`, `wget`, `false` and `sleep`.
pub fn build_busybox(engine: &Engine) -> Result<()> {
    let context = TempDir::new()?;
    let found = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).is_file());
    let program = found.context("busybox is missing: apt-get install busybox-static")?;
    fs::copy(program, context.path().join("busybox"))?;
    let mut dockerfile = "FROM scratch\n".to_owned();
    for name in ["sh", "wget", "false", "sleep"] {
        dockerfile += &format!("COPY busybox /bin/{name}\n");
    }
    fs::write(context.path().join("Dockerfile"), dockerfile)?;
    let directory = context.path().display().to_string();
    engine.docker(&["build", "--tag", BUSYBOX, "--network=none", &directory]).map(drop)
}
