//! Finds the tailscaled to run and asks it for its version.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{AccessFlags, access};

use crate::fatal::Fatal;

const NAME: &str = "tailscaled";

/// Where it may be as seen from this program's directory. A Lambda layer has the one in `extensions`, the other in `bin`.
const BESIDE: [&str; 2] = [".", "../bin"];

/// The configured one, or the first of: beside this program, on `search` (a PATH).
pub fn find(configured: Option<&Path>, search: Option<&str>) -> Result<PathBuf, Fatal> {
    if let Some(path) = configured {
        return is_program(path).then(|| path.to_owned()).ok_or_else(|| {
            Fatal::TailscaledUnusable(format!(
                "tailscaled_path {} is not an executable file; set it to tailscaled, or leave it out to search PATH",
                path.display()
            ))
        });
    }
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent);
    let beside = own.into_iter().flat_map(|own| BESIDE.map(|place| own.join(place).join(NAME)));
    let on_path = search.into_iter().flat_map(std::env::split_paths).map(|directory| directory.join(NAME));
    beside.chain(on_path).find(|path| is_program(path)).ok_or_else(|| {
        Fatal::TailscaledUnusable(
            "tailscaled was found neither beside tetherd nor on PATH; install it or set tailscaled_path".into(),
        )
    })
}

/// The first line of `tailscaled --version`.
pub fn version(path: &Path) -> Option<String> {
    let output = Command::new(path).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}
