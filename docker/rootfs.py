"""Packs the image's only layer: rootfs.py TAR TETHERD TAILSCALED LICENCE...

The same input gives the same bytes: order, times, owners and modes are fixed. All of it belongs to root but the one
directory that the daemon may write to.
"""
import io
import os
import sys
import tarfile

USER = 65532
# A process whose program its user may not read can be traced or looked into by no other process of that user.
PROGRAM, FILE, DIRECTORY, PRIVATE = 0o711, 0o644, 0o755, 0o700
PASSWD = f"root:x:0:0:root:/:/sbin/nologin\ntetherd:x:{USER}:{USER}:tetherd:/var/lib/tetherd:/sbin/nologin\n"
GROUP = f"root:x:0:\ntetherd:x:{USER}:\n"


def entry(name, mode, owner=0):
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.mtime = mode, owner, owner, 0
    return info


def add_file(archive, name, mode, content):
    info = entry(name, mode)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def add_directory(archive, name, mode=DIRECTORY, owner=0):
    info = entry(name, mode, owner)
    info.type = tarfile.DIRTYPE
    archive.addfile(info)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main(target, tetherd, tailscaled, *licences):
    with tarfile.open(target + ".new", "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("etc", "usr", "usr/share", "usr/share/licenses", "usr/share/licenses/tetherd", "var", "var/lib"):
            add_directory(archive, name)
        add_file(archive, "etc/group", FILE, GROUP.encode())
        add_file(archive, "etc/passwd", FILE, PASSWD.encode())
        # A volume that is mounted here takes owner and mode from it.
        add_directory(archive, "var/lib/tetherd", PRIVATE, USER)
        for path in sorted(licences):
            add_file(archive, "usr/share/licenses/tetherd/" + os.path.basename(path), FILE, read(path))
        add_file(archive, "tailscaled", PROGRAM, read(tailscaled))
        add_file(archive, "tetherd", PROGRAM, read(tetherd))
    os.replace(target + ".new", target)
    print(f"{target}: {os.path.getsize(target) / 1e6:.1f} MB")


main(*sys.argv[1:])
