#!/usr/bin/env bash
# Builds the functions with `sam build`, and packs them as `sam deploy` does: $out/ARCH/NAME.zip, for the architectures given,
# for arm64 where Rust has the target. Called by `make functions`; arguments: the directory of the zips, cargo's target
# directory, the directory with the programs of SAM and cargo-lambda, architectures as Lambda names them.
set -euo pipefail
out=$1 target=$2 tools=$3
architectures=" ${*:4} "
cd "$(dirname "$0")"
# A directory of its own: the flags differ from those of the layer, whose build may be under way.
export PATH="$tools:$PATH" CARGO_TARGET_DIR="$target/functions" SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-central-1

build() { # architecture as Lambda names it
    rm -rf "${out:?}/$1"
    sam build --build-dir "$out/$1/build" --parameter-overrides "Architecture=$1"
    for function in Authorizer Forwarder Rotation; do
        python3 -m zipfile -c "$out/$1/${function}Function.zip" "$out/$1/build/${function}Function/bootstrap"
    done
    ls -l "$out/$1"/*.zip
}

case $architectures in *" x86_64 "*) build x86_64 ;; esac
case $architectures in *" arm64 "*) ;; *) exit 0 ;; esac
if rustup target add aarch64-unknown-linux-gnu >/dev/null 2>&1; then
    build arm64
else
    rm -rf "$out/arm64"
    echo "SKIPPED the functions for arm64: rustup cannot add the target aarch64-unknown-linux-gnu here" >&2
fi
