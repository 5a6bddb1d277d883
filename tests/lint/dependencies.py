"""Checks that each dependency of a crate is used in its Rust files: dependencies.py DIRECTORY...

A name in `dependencies` or `dev-dependencies` must stand in a file of the crate, as Rust writes it. What is there for another
reason (a version to be held, a feature to be switched on) is named with that reason in the manifest:

    [package.metadata.unused]
    idna_adapter = "why"

A reason for what is used, or is no dependency, is a fault as well.
"""

import re
import sys
import tomllib
from pathlib import Path

SECTIONS = ("dependencies", "dev-dependencies", "build-dependencies")
# Crates below that of the whole repository are crates of their own.
OTHERS = {"target", "parts", "webhook-forwarder", "lambda-layer"}


def code(path):
    """A Rust file without its comments, and with the files that it takes in by a path of their own, wherever they are."""
    lines = (line.split("//", 1)[0] for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("//"))
    text = "\n".join(lines)
    named = (path.parent / name for name in re.findall(r'#\[path = "([^"]+)"\]', text))
    return "\n".join([text, *(code(file) for file in named if file.exists())])


def sources(crate):
    """All of the Rust text of a crate, without that of crates below it."""
    below = [manifest.parent for manifest in crate.rglob("Cargo.toml") if manifest.parent != crate]
    files = (path for path in sorted(crate.rglob("*.rs")) if path.relative_to(crate).parts[0] not in OTHERS)
    return "\n".join(code(path) for path in files if not any(path.is_relative_to(place) for place in below))


def dependencies(manifest):
    """Names of all dependencies, those of targets as well."""
    tables = [manifest, *manifest.get("target", {}).values()]
    return {name for table in tables for section in SECTIONS for name in table.get(section, {})}


def faults(manifest, text):
    """What is wrong with the dependencies of a manifest, given all of the crate's Rust text: a list of sentences."""
    reasons = manifest["package"].get("metadata", {}).get("unused", {})
    known = dependencies(manifest)
    # A word of its own: in a path, a `use`, an attribute.
    unused = {name for name in known if not re.search(rf"\b{re.escape(name.replace('-', '_'))}\b", text)}
    return [
        *(f"{name} is not used: remove it, or say why it is there in package.metadata.unused" for name in sorted(unused - set(reasons))),
        *(f"package.metadata.unused names {name}, which is used or is no dependency" for name in sorted(set(reasons) - unused)),
        *(f"package.metadata.unused names {name} without a reason" for name in sorted(reasons) if not str(reasons[name]).strip()),
    ]


def main(crates):
    """Prints the faults of these crates. Returns the exit code."""
    found = []
    for crate in map(Path, crates):
        path = crate / "Cargo.toml"
        manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        found += [f"{path}: {fault}" for fault in faults(manifest, sources(crate))]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
