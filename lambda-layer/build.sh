#!/usr/bin/env bash
# Builds tetherd-layer-ARCH.zip for the architectures given, that of arm64 where Rust has the target. Called by `make layer`,
# which has built their small tailscaled; arguments: the directory of these, the one of the zips, cargo's target directory,
# architectures as Lambda names them.
set -euo pipefail
parts=$1 out=$2 target=$3
architectures=" ${*:4} "
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
mkdir -p "$out"

ZOPFLI=0.4.3
packer="$target/tools/zopfli"
if [ ! -d "$packer/zopfli" ]; then
    pip3 install --quiet --root-user-action=ignore --only-binary :all: --target "$packer" "zopfli==$ZOPFLI"
fi

build() { # architecture as Lambda names it, as Rust names it
    "$here/program.sh" "$PWD" "$2" "$target"
    python3 "$here/licences.py" "$2-unknown-linux-gnu" > "$out/third-party-$1.txt"
    PYTHONPATH="$packer" python3 "$here/pack.py" "$out/tetherd-layer-$1.zip" \
        "$target/$2-unknown-linux-gnu/release/tetherd" "$parts/lambda-$1/tailscaled" LICENSE NOTICE "$out/third-party-$1.txt"
}

case $architectures in *" x86_64 "*) build x86_64 x86_64 ;; esac
case $architectures in *" arm64 "*) ;; *) exit 0 ;; esac
if rustup target add aarch64-unknown-linux-gnu >/dev/null 2>&1; then
    build arm64 aarch64
else
    rm -f "$out/tetherd-layer-arm64.zip"
    echo "SKIPPED tetherd-layer-arm64.zip: rustup cannot add the target aarch64-unknown-linux-gnu here" >&2
fi

run_arm64() { # name, program
    qemu-aarch64-static -L /usr/aarch64-linux-gnu "$2" --version | head -n 1 | sed "s/^/$1 for arm64 runs: /"
}

# tailscaled for arm64 is built in any case. Where there is an emulator, it is run, and so is tetherd if its glibc is there.
if ! command -v qemu-aarch64-static >/dev/null; then
    echo "SKIPPED running the programs for arm64: qemu-aarch64-static is missing (apt-get install qemu-user-static)" >&2
    exit 0
fi
run_arm64 tailscaled "$parts/lambda-arm64/tailscaled"
if [ ! -e "$out/tetherd-layer-arm64.zip" ]; then
    exit 0
elif [ -e /usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1 ]; then
    run_arm64 tetherd "$target/aarch64-unknown-linux-gnu/release/tetherd"
else
    echo "SKIPPED running tetherd for arm64: its glibc is missing (apt-get install libc6-arm64-cross)" >&2
fi
