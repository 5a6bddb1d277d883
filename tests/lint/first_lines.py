"""Checks the first line of Rust files, which says a file's job: first_lines.py FILE...

It must be a `//!` comment of at most 80 characters that ends with a full stop. The reason and the details stand below,
after a blank `//!` line. Each fault is printed with its file and line.
"""

import sys
from pathlib import Path

LONGEST = 80
MARK = "//!"


def fault(text):
    """Finds what is wrong with the first lines of a file: the line's number and the reason. None where all is well."""
    first, second, *_ = [*text.splitlines(), "", ""]
    if not first.startswith(MARK):
        return 1, f"the file does not begin with a {MARK} comment"
    job = first.removeprefix(MARK).strip()
    if len(job) > LONGEST:
        return 1, f"{len(job)} characters, of at most {LONGEST}"
    if job.endswith(":"):
        return 1, "a colon at the end: the line must be complete without the next one"
    if not job.endswith("."):
        return 1, "no full stop at the end"
    if second.startswith(MARK) and second.strip() != MARK:
        return 2, f"no blank {MARK} line after the first line"
    return None


def main(files):
    """Prints the faults of these files. Returns the exit code."""
    found = [(file, fault(Path(file).read_text(encoding="utf-8"))) for file in files]
    texts = [f"{file}:{known[0]}: {known[1]}" for file, known in found if known]
    print("\n".join(texts), end="\n" if texts else "")
    return 1 if texts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
