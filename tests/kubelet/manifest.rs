//! The pod under test: a busybox application with the chart's sidecar.
//!
//! It is rendered by helm.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testbed::image::repository;
use testbed::{Tailnet, parts};

/// Name of the pod, and by that of the node.
pub const POD: &str = "shop";
pub const APP: &str = "app";
pub const TETHERD: &str = "tetherd";

/// A static pod. `url` is the target's, by its name in the tailnet; `keys` is the directory with auth key and
/// authority.
pub fn pod(tailnet: &Tailnet, url: &str, keys: &Path) -> String {
    let place = TempDir::new().expect("a directory");
    let chart = place.path().join("chart");
    copy(&repository("tests/kubelet/chart"), &chart);
    // Where `helm dependency build` would put it.
    copy(&repository("helm/tetherd"), &chart.join("charts/tetherd"));
    let output = Command::new(parts::find("helm").expect("make helm"))
        .args(["template", POD])
        .arg(&chart)
        .args(["--set-string", &format!("url={url}")])
        .args(["--set-string", &format!("keys={}", keys.display())])
        .args(["--set-string", &format!("tetherd.config.control_url={}", tailnet.control_url())])
        .args(["--set-string", &format!("tetherd.config.hostname={POD}")])
        .env_clear()
        .env("HOME", place.path())
        .output()
        .expect("helm runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("reads").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("copied")),
        }
    }
}
