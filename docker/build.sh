#!/usr/bin/env bash
# Builds tetherd as a static program for one architecture, gathers the licences and packs the image's only layer:
# OUT/ARCH/rootfs.tar. Called by `make image` and by docker/Dockerfile; ARCH is amd64 or arm64 (as Docker names them),
# PARTS holds the small tailscaled, TARGET is cargo's target directory.
set -euo pipefail
arch=$1 parts=$2 out=$3 target=$4
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
case $arch in
amd64) rust=x86_64-unknown-linux-gnu ;;
arm64) rust=aarch64-unknown-linux-gnu ;;
*) echo "$arch is unknown: amd64 or arm64" >&2 && exit 64 ;;
esac
mkdir -p "$out/$arch"

# From 2.34 on a static program has glibc's readers of /etc/hosts and of DNS in it; older ones load them from files that
# an image from scratch does not have.
glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
if [ "$(printf '%s\n2.34\n' "$glibc" | sort -V | head -n 1)" != 2.34 ]; then
    echo "glibc $glibc is too old to build a static program that resolves names: 2.34 or newer is needed" >&2 && exit 1
fi

# Paths of this machine would make its bytes differ from those of others.
export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$PWD=/tetherd --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
if [ "$arch" = arm64 ] && [ "$(uname -m)" != aarch64 ]; then
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
fi
# A directory of its own: the flags differ from those of every other build.
cargo build --release --locked --package tetherd --target "$rust" --target-dir "$target/image"

python3 lambda-layer/licences.py "$rust" > "$out/$arch/third-party.txt"
python3 "$here/rootfs.py" "$out/$arch/rootfs.tar" "$target/image/$rust/release/tetherd" "$parts/image-$arch/tailscaled" \
    LICENSE NOTICE "$out/$arch/third-party.txt"
