"""Prints the licences of everything that is linked into tetherd and tailscaled.

tetherd is taken as built for the given target. Each text is printed once, with the names of those it covers.
"""
import glob
import json
import os
import subprocess
import sys

NAMES = ("LICEN[CS]E*", "COPYING*", "COPYRIGHT*", "NOTICE*", "PATENTS")
HERE = os.path.dirname(os.path.abspath(__file__))


def crates(target):
    tree = ["cargo", "tree", "--locked", "--package", "tetherd", "--edges", "normal", "--target", target,
            "--prefix", "none", "--format", "{p}"]
    linked = {tuple(line.split()[:2]) for line in subprocess.check_output(tree, text=True).splitlines()}
    metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--locked", "--format-version", "1"]))
    for package in metadata["packages"]:
        if package["source"] and (package["name"], "v" + package["version"]) in linked:
            name = f"{package['name']} {package['version']} ({package['license']})"
            yield name, os.path.dirname(package["manifest_path"])


def modules():
    form = "{{with .Module}}{{.Path}} {{.Version}}\t{{.Dir}}{{end}}"
    listed = subprocess.check_output(["go", "list", "-deps", "-f", form, "tailscale.com/cmd/tailscaled"],
                                     text=True, cwd=os.path.join(HERE, "../parts/tailscaled"))
    return [tuple(line.split("\t")) for line in sorted(set(listed.splitlines())) if "\t" in line]


def main(target):
    texts = {}
    for name, directory in [*sorted(crates(target)), *modules()]:
        files = sorted(path for pattern in NAMES for path in glob.glob(os.path.join(directory, pattern))
                       if os.path.isfile(path))
        for path in files or [None]:
            text = open(path, encoding="utf-8", errors="replace").read() if path else "(no file in its package)"
            texts.setdefault(text.strip(), []).append(name)
    for text, names in texts.items():
        print("=" * 100, *sorted(set(names)), "-" * 100, text, sep="\n")


main(sys.argv[1])
