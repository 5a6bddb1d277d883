//! Finds the tailscaled to run, its version, and whether it has tetherd's calls.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use memchr::memmem::Finder;
use nix::unistd::{AccessFlags, access};

use crate::exit_reason::ExitReason;
use crate::tailscaled::calls::MARKER;

const NAME: &str = "tailscaled";

/// Length of the part of a program that is searched at a time, in bytes.
const BLOCK: usize = 1 << 20;

/// Where tailscaled may be, relative to this program's directory. A Lambda layer has this program in `extensions`, and
/// tailscaled in `bin`.
const SIBLING_DIRECTORIES: [&str; 2] = [".", "../bin"];

/// Returns the path of the configured tailscaled, or of the first one that is beside this program or on `search` (a
/// PATH).
///
/// # Errors
/// When there is none.
pub fn find_tailscaled(configured: Option<&Path>, search: Option<&str>) -> Result<PathBuf, ExitReason> {
    if let Some(path) = configured {
        return is_program(path).then(|| path.to_owned()).ok_or_else(|| {
            ExitReason::TailscaledUnusable(format!(
                "tailscaled_path {} is not an executable file; set it to tailscaled, or leave it out to search PATH",
                path.display()
            ))
        });
    }
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::parent);
    let beside = own.into_iter().flat_map(|own| SIBLING_DIRECTORIES.map(|sibling| own.join(sibling).join(NAME)));
    let on_path = search.into_iter().flat_map(std::env::split_paths).map(|directory| directory.join(NAME));
    beside.chain(on_path).find(|path| is_program(path)).ok_or_else(|| {
        ExitReason::TailscaledUnusable(
            "tailscaled was found neither beside tetherd nor on PATH; install it or set tailscaled_path".into(),
        )
    })
}

/// Returns the first line of `tailscaled --version`; `None` when it cannot be run.
pub fn version(path: &Path) -> Option<String> {
    let output = Command::new(path).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// Whether the program has tetherd's calls compiled in; `None` where it cannot be read.
pub fn has_calls(path: &Path) -> Option<bool> {
    let mut program = File::open(path).ok()?;
    let finder = Finder::new(MARKER);
    let (mut block, mut kept) = (vec![0; BLOCK], 0);
    loop {
        let read = program.read(&mut block[kept..]).ok()?;
        let filled = kept + read;
        if finder.find(&block[..filled]).is_some() {
            return Some(true);
        }
        if read == 0 {
            return Some(false);
        }
        // The marker may begin at the end of a block.
        kept = filled.min(MARKER.len() - 1);
        block.copy_within(filled - kept..filled, 0);
    }
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_is_found_wherever_it_stands() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("tailscaled");
        for before in [0, 1, BLOCK - 5, BLOCK, 3 * BLOCK - 1] {
            std::fs::write(&program, [&vec![0; before][..], MARKER.as_bytes(), b"\0rest"].concat()).expect("written");
            assert_eq!(has_calls(&program), Some(true), "{before}");
        }
        std::fs::write(&program, vec![b't'; 2 * BLOCK]).expect("written");
        assert_eq!(has_calls(&program), Some(false));
        assert_eq!(has_calls(&directory.path().join("none")), None);
    }
}
