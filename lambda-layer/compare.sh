#!/usr/bin/env bash
# Builds what is in tetherd-layer-x86_64.zip once more, from a copy of the sources in another directory, and compares: the
# bytes must not depend on where they were built. Called by `make layer-again`; arguments: the directory of the zips,
# cargo's target directory. Of tetherd its own code is compiled anew, of tailscaled the link is made anew.
set -euo pipefail
out=$1 target=$2
here=$(cd "$(dirname "$0")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar --create --directory "$here/.." --exclude=./target --exclude=./parts/bin --exclude=./.git . | tar --extract --directory "$copy"

# Cargo knows a copy with the same times for what it has built already.
find "$copy/src" -name '*.rs' -exec touch {} +
"$here/program.sh" "$copy" x86_64 "$target"
make --silent --directory "$copy" parts/bin/lambda-x86_64/tailscaled
(cd "$copy" && python3 lambda-layer/licences.py x86_64-unknown-linux-gnu > third-party-x86_64.txt)

same() { # name in the zip, file
    python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
        "$out/tetherd-layer-x86_64.zip" "$1" | cmp - "$2" && echo "the same once more: $1"
}
same extensions/tetherd "$target/x86_64-unknown-linux-gnu/release/tetherd"
same bin/tailscaled "$copy/parts/bin/lambda-x86_64/tailscaled"
same share/tetherd/third-party-x86_64.txt "$copy/third-party-x86_64.txt"
