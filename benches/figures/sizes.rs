//! Benchmark of download sizes: release binary, Lambda layer, container image.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::report::{Report, Row};
use crate::scene::binary;

pub fn measure(_: usize) -> Result<Report> {
    let target = Report::path("sizes")?;
    let target = target.parent().and_then(Path::parent).context("the target directory has no name")?;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let binary = fs::metadata(binary())?.len();
    let mut rows = vec![Row::at_most("release binary", 4.5, "MB", megabytes(binary))];
    for architecture in ["x86_64", "arm64"] {
        if let Ok(zip) = fs::metadata(target.join(format!("layer/tetherd-layer-{architecture}.zip"))) {
            rows.push(Row::at_most(format!("layer for Lambda, {architecture}"), 10.5, "MB", megabytes(zip.len())));
        }
    }
    for architecture in ["amd64", "arm64"] {
        if let Ok(layer) = fs::read(target.join(format!("docker/{architecture}/rootfs.tar"))) {
            rows.push(Row::at_most(
                format!("image, {architecture}, compressed"),
                13.0,
                "MB",
                megabytes(gzipped(&layer)?),
            ));
        }
    }
    ensure!(rows.len() >= 3, "layer or image is missing: run `make layer image-layer`");
    Ok(Report { rows, series: Vec::new() })
}

/// As registries keep it.
fn gzipped(bytes: &[u8]) -> Result<u64> {
    let mut gzip =
        Command::new("gzip").arg("-6").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("gzip")?;
    let mut input = gzip.stdin.take().context("gzip has no stdin")?;
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes));
        Ok(gzip.wait_with_output()?.stdout.len() as u64)
    })
}
