"""Checks which files of a Rust crate import which: imports.py CRATE...

A crate is a folder with a Cargo.toml and a src folder. Two things fail:

- A circle: files that import each other, by however many steps. All edges of the circle are printed.
- In the crate tetherd, an import that runs up: one that no row of ARROWS allows.

An import is any path into the crate: in a `use`, in code, or through a name that a `use` or a `mod` has brought in.
It counts for the longest part of the path that is a file. Tests do not count: they may look at everything.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

LEAVES = (
    "config::types", "environment", "exit_reason", "memory", "net", "secret", "state", "status", "sync", "target", "text",
)
# An area, and the areas it may import. Rows stand from top to bottom: each names areas of the rows below it alone.
ARROWS = {
    "main": ("cli",),
    "cli": ("supervisor", "daemon", "platform", "tailscaled", "proxy", "dns", "auth_keys", "health", "process", "config", *LEAVES),
    # Starts a daemon for each tailnet, and answers for all of them.
    "supervisor": ("daemon", "tailscaled", "health", "process", "config", *LEAVES),
    "daemon": ("platform", "tailscaled", "proxy", "dns", "auth_keys", "health", "process", "config", *LEAVES),
    "platform": ("config", *LEAVES),
    # A login asks for a key by the trait of auth_keys.
    "tailscaled": ("auth_keys", "process", "config", *LEAVES),
    "proxy": ("config", *LEAVES),
    "dns": LEAVES,
    "auth_keys": ("config", *LEAVES),
    "health": LEAVES,
    # A child inherits the environment without the variables that the table of keys calls secret.
    "process": ("config", *LEAVES),
    "config": LEAVES,
    "config::types": ("target", "text"),
    "target": ("net", "text"),
    "status": ("state",),
    "memory": ("state", "sync", "text"),
    "net": ("sync", "text"),
    "secret": ("sync", "text"),
    "state": ("sync", "text"),
    "environment": (),
    "exit_reason": (),
    "sync": (),
    "text": (),
}

# What is left out before paths are looked for: comments, strings, a character in quotes.
SKIPPED = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\br(?P<fence>\#*)".*?"(?P=fence)|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])'""", re.DOTALL | re.VERBOSE
)
PACKAGE = re.compile(r'^\[package\]\s*name = "([^"]+)"', re.MULTILINE)
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"(?<![:\w$])\w+(?:::\w+)+")
UNIT_TESTS = re.compile(r"#\[cfg\(test\)\]\s*mod \w+ \{")


class Crate(NamedTuple):
    """A crate's files, named as modules: ("proxy", "relay") is src/proxy/relay.rs or src/proxy/relay/mod.rs."""

    name: str
    files: dict[tuple[str, ...], Path]


def read_crate(folder):
    """Finds the files of a crate that are part of the program, not of its tests."""
    package = PACKAGE.search((folder / "Cargo.toml").read_text())[1]
    source = folder / "src"
    files = {}
    for path in sorted(source.rglob("*.rs")):
        parts = path.relative_to(source).with_suffix("").parts
        if "tests" in parts or parts[-1].endswith("_tests"):
            continue
        if parts[-1] == "mod":
            parts = parts[:-1]
        files[() if parts == ("lib",) else parts] = path
    return Crate(package.replace("-", "_"), files)


def expand(tree):
    """Gives the paths of a `use` tree, each with the name that it brings in: a::{b, c as d} is a::b as b, a::c as d."""
    head, brace, rest = tree.partition("{")
    if not brace:
        path, _, alias = head.partition(" as ")
        path = path.strip().removesuffix("::self")
        return [(path, alias.strip() or path.split("::")[-1])]
    branches, depth, start = [], 1, 0
    for index, letter in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0 or (depth == 1 and letter == ","):
            branches.append(rest[start:index])
            start = index + 1
        if depth == 0:
            break
    return [leaf for branch in branches if branch.strip() for leaf in expand(head.strip() + branch.strip())]


def absolute(path, module, crate):
    """Turns a path as it stands in a module into one from the top of the crate; None for a path to another crate."""
    first, *rest = path.split("::")
    if first in ("crate", crate.name):
        return tuple(rest)
    if first == "self":
        return (*module, *rest)
    if (*module, first) in crate.files:
        return (*module, first, *rest)
    base = module
    while first == "super":
        base, first, *rest = base[:-1], *(rest or [""])
        if first != "super":
            return (*base, first, *rest)
    return None


def imports(module, crate):
    """Gives the modules that one file imports."""
    text = SKIPPED.sub(" ", crate.files[module].read_text())
    tests = UNIT_TESTS.search(text)
    text = text[: tests.start()] if tests else text
    names, paths = {}, []
    for tree in USE.findall(text):
        for path, name in expand(" ".join(tree.split())):
            if target := absolute(path, module, crate):
                paths.append(target)
                names[name] = target
    for path in PATH.findall(USE.sub("", text)):
        first, *rest = path.split("::")
        target = (*names[first], *rest) if first in names else absolute(path, module, crate)
        paths.extend([target] if target else [])
    return {owner(path, crate) for path in paths} - {module}


def owner(path, crate):
    """Finds the file that the longest part of a path names; at last lib.rs."""
    return next((path[:length] for length in range(len(path), 0, -1) if path[:length] in crate.files), ())


def circles(edges):
    """Finds the sets of modules that reach each other (strongly connected components, by Tarjan's algorithm)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in edges[module]:
            if target not in index:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == index[module]:
            start = stack.index(module)
            found.append(set(stack[start:]))
            del stack[start:]

    for module in edges:
        if module not in index:
            visit(module)
    return [circle for circle in found if len(circle) > 1]


def area(module):
    """Finds the row of ARROWS that a module belongs to: its longest beginning that has one, else its first folder."""
    names = ["::".join(module[:length]) for length in range(len(module), 0, -1)]
    return next((name for name in names if name in ARROWS), names[-1])


def complaints(folder):
    """Gives a text for each circle of a crate, and for each import that runs up."""
    crate = read_crate(folder)
    edges = {module: imports(module, crate) for module in crate.files}
    texts = []
    for circle in circles(edges):
        lines = [f"{crate.files[a]} -> {crate.files[b]}" for a in sorted(circle) for b in sorted(edges[a] & circle)]
        texts.append("\n    ".join([f"{crate.name}: a circle of {len(circle)} files", *lines]))
    if crate.name == "tetherd":
        texts += [text for module in edges if module for text in runs_up(module, edges[module], crate)]
    return texts


def runs_up(module, targets, crate):
    """Gives a text for each import of a module that ARROWS does not allow. lib.rs, the map of modules, is none."""
    here = area(module)
    for target in sorted(targets - {()}):
        there = area(target)
        if here not in ARROWS:
            yield f"{crate.files[module]}: {here} has no row in ARROWS of {Path(__file__).name}"
        elif there != here and there not in ARROWS[here]:
            yield f"{crate.files[module]} -> {crate.files[target]}: {here} must not import {there}"


def main(folders):
    """Prints all complaints about the crates in these folders. Returns the exit code."""
    texts = [text for folder in folders for text in complaints(Path(folder))]
    print("\n".join(texts), end="\n" if texts else "")
    return 1 if texts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
