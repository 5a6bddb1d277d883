//! Finds the real parts, which `make parts` has built.
//!
//! They are in `parts/bin` of the repository or where `TETHERD_PARTS` points.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The tailscaled that users may bring: without the calls that tetherd's own has.
pub const STOCK_TAILSCALED: &str = "stock/tailscaled";

/// The directory that holds tailscaled, tailscale and headscale.
pub fn directory() -> Result<PathBuf> {
    let directory = env::var_os("TETHERD_PARTS")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../parts/bin"));
    directory.canonicalize().with_context(|| format!("{} is missing: run `make parts`", directory.display()))
}

/// The path of one part, which is there.
pub fn find(name: &str) -> Result<PathBuf> {
    let path = directory()?.join(name);
    ensure!(path.is_file(), "{} is missing: `make help` says where the targets stand that build it", path.display());
    Ok(path)
}
