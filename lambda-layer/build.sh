#!/usr/bin/env bash
# Builds tetherd-layer-x86_64.zip and, where Rust has the target, tetherd-layer-arm64.zip. Called by `make layer`, which
# has built the small tailscaled of both; arguments: the directory of these, the one of the zips, cargo's target directory.
set -euo pipefail
parts=$1 out=$2 target=$3
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
mkdir -p "$out"

# Amazon Linux 2 has glibc 2.26.
GLIBC=2.26
ZIGBUILD=0.24.1
ZIG=0.17.1
ZOPFLI=0.4.3
tools="$target/tools/zig"
if [ ! -x "$tools/bin/cargo-zigbuild" ]; then
    pip3 install --quiet --root-user-action=ignore --target "$tools" "cargo-zigbuild==$ZIGBUILD" "ziglang==$ZIG"
fi
packer="$target/tools/zopfli"
if [ ! -d "$packer/zopfli" ]; then
    pip3 install --quiet --root-user-action=ignore --only-binary :all: --target "$packer" "zopfli==$ZOPFLI"
fi
export PYTHONPATH="$tools:$packer" PATH="$tools/bin:$PATH" CARGO_TARGET_DIR="$target"
# Paths of this machine would make its bytes differ from those of others.
export RUSTFLAGS="--remap-path-prefix=$PWD=/tetherd --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"

build() { # architecture as Lambda names it, as Rust names it
    cargo-zigbuild zigbuild --release --locked --package tetherd --target "$2-unknown-linux-gnu.$GLIBC"
    python3 "$here/licences.py" "$2-unknown-linux-gnu" > "$out/third-party-$1.txt"
    python3 "$here/pack.py" "$out/tetherd-layer-$1.zip" "$target/$2-unknown-linux-gnu/release/tetherd" \
        "$parts/lambda-$1/tailscaled" LICENSE NOTICE "$out/third-party-$1.txt"
}

build x86_64 x86_64
if rustup target add aarch64-unknown-linux-gnu >/dev/null 2>&1; then
    build arm64 aarch64
else
    rm -f "$out/tetherd-layer-arm64.zip"
    echo "SKIPPED tetherd-layer-arm64.zip: rustup cannot add the target aarch64-unknown-linux-gnu here" >&2
fi

# tailscaled for arm64 is built in any case; where there is an emulator, it is run.
if command -v qemu-aarch64-static >/dev/null; then
    qemu-aarch64-static "$parts/lambda-arm64/tailscaled" --version | head -n 1 | sed 's/^/tailscaled for arm64 runs: /'
else
    echo "SKIPPED running tailscaled for arm64: qemu-aarch64-static is missing (apt-get install qemu-user-static)" >&2
fi
