#!/usr/bin/env bash
# Builds tetherd for glibc of Amazon Linux 2 by cargo-zigbuild: program.sh SOURCES ARCH TARGET. SOURCES is the tree to build,
# this one or a copy of it; ARCH is the architecture as Rust names it; TARGET is cargo's target directory.
set -euo pipefail
sources=$1 arch=$2 target=$3
here=$(cd "$(dirname "$0")/.." && pwd)

# Amazon Linux 2 has glibc 2.26.
GLIBC=2.26
ZIGBUILD=0.24.1
ZIG=0.17.1
tools="$target/tools/zig"
if [ ! -x "$tools/bin/cargo-zigbuild" ]; then
    pip3 install --quiet --root-user-action=ignore --target "$tools" "cargo-zigbuild==$ZIGBUILD" "ziglang==$ZIG"
fi
export PYTHONPATH="$tools" PATH="$tools/bin:$PATH" CARGO_TARGET_DIR="$target"
# Paths of this machine would make its bytes differ from those of others.
export RUSTFLAGS="--remap-path-prefix=$here=/tetherd --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
cd "$sources"
cargo-zigbuild zigbuild --release --locked --package tetherd --target "$arch-unknown-linux-gnu.$GLIBC"
