"""Packs the Lambda layer: pack.py ZIP TETHERD TAILSCALED LICENCE...

The same input gives the same bytes: order, times and modes are fixed. Lambda unpacks it to /opt. zopfli (PyPI) deflates
to 3 % less than zlib at its best, in a minute and a half.
"""
import os
import sys
import zipfile

from zopfli import zlib as zopfli


class Deflate:
    """zopfli in the place of zlib's compressor: without the two bytes before its stream and the four behind it."""

    def __init__(self):
        self.content = b""

    def compress(self, content):
        self.content += content
        return b""

    def flush(self):
        return zopfli.compress(self.content, numiterations=1, blocksplittingmax=0)[2:-4]


STORED = zipfile._get_compressor
zipfile._get_compressor = lambda kind, level=None: Deflate() if kind == zipfile.ZIP_DEFLATED else STORED(kind, level)

# The earliest time that a zip can hold.
TIME = (1980, 1, 1, 0, 0, 0)
FILE, PROGRAM, LINK = 0o100644, 0o100755, 0o120777


def add(archive, name, mode, content):
    entry = zipfile.ZipInfo(name, TIME)
    entry.create_system = 3  # Unix: the modes count
    entry.external_attr = mode << 16
    entry.compress_type = zipfile.ZIP_STORED if mode == LINK else zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main(target, tetherd, tailscaled, *licences):
    with zipfile.ZipFile(target + ".new", "w") as archive:
        # What stands in extensions/ is started by Lambda; the link is for AWS_LAMBDA_EXEC_WRAPPER and for a person.
        add(archive, "extensions/tetherd", PROGRAM, read(tetherd))
        add(archive, "bin/tailscaled", PROGRAM, read(tailscaled))
        add(archive, "bin/tetherd", LINK, b"../extensions/tetherd")
        for path in licences:
            add(archive, "share/tetherd/" + os.path.basename(path), FILE, read(path))
    os.replace(target + ".new", target)
    print(f"{target}: {os.path.getsize(target) / 1e6:.2f} MB")


main(*sys.argv[1:])
