"""Directories for the integration tests: odd ones made and changed, and any
told in text, by content and metadata, so that two can be compared.

	trees.py odd DIR            make one of every kind of entry and name
	trees.py change DIR         change, add, remove, retype some of it
	trees.py large DIR          large, sparse and very sparse files
	trees.py describe DIR       one line an entry
"""

import hashlib
import os
import stat
import sys

OURS = b".cachectl"


def write(path, data, mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def noise(size, seed):
    """Bytes that shrink to about a third, and repeat for nobody."""
    out = bytearray()
    block = hashlib.sha256(str(seed).encode()).digest()
    while len(out) < size:
        block = hashlib.sha256(block).digest()
        out += block + b"x" * 64
    return bytes(out[:size])


def odd(top):
    top = os.fsencode(top)
    os.makedirs(top, exist_ok=True)

    def at(name):
        return os.path.join(top, name)

    for i, name in enumerate((
            b"new\nline", b"tab\t", b"\"quotes\" and \\", b"'", b" ", b"-rf",
            b"...", b"..a", b"\xff\xfe\x00"[:2], b"\xc3\xa4", b"\xed\xa0\x80",
            b"\xf0\x9f\x98\x80", b"$(reboot)", b"%s%n", b"\x01\x1f\x7f", b"*",
            b"n" * 255, b"a-b", b"a.b", b"a0", b"{\"path\":\"x\"}")):
        write(at(name), noise(100 * i, i))
    for name in (b"a", b"a/b", b"a/b/c", b"empty", b"\xff", b"sticky",
                 b"read only", b"closed"):
        os.mkdir(at(name))
    write(at(b"a/b/c/deep"), b"deep")
    write(at(b"\xff/\xfe"), b"below a name that is no UTF-8")
    write(at(b"empty file"), b"")
    write(at(b"read only/f"), b"f", 0o444)
    write(at(b"closed/f"), b"f", 0o000)
    write(at(b"program"), b"#!/bin/sh\n", 0o755)
    for size in (1, 4095, 4096, 4097, 65536, 1 << 20, (1 << 20) + 1, 5 << 20):
        write(at(b"size %d" % size), noise(size, size))
    os.symlink(b"a/b", at(b"link"))
    os.symlink(b"/etc/passwd", at(b"link to outside"))
    os.symlink(b"nowhere", at(b"dangling"))
    os.symlink(b"\xff\n", at(b"link no UTF-8"))
    os.symlink(b"x" * 4000, at(b"long link"))
    os.mkfifo(at(b"fifo"), 0o640)
    os.link(at(b"program"), at(b"a/program too"))
    os.link(at(b"program"), at(b"\xff/program as well"))
    os.link(at(b"size 5242880"), at(b"a/large too"))
    attributes(at(b"program"), at(b"a"))
    for name, ns in ((b"a0", -1), (b"a.b", 1), (b"a-b", 1234567890123456789),
                     (b"link", 987654321012345678), (b"fifo", 1),
                     (b"*", 4102444800999999999)):
        os.utime(at(name), ns=(0, ns), follow_symlinks=False)
    if os.geteuid() == 0:
        os.chown(at(b"a0"), 1234, 5678)
        os.chown(at(b"link"), 1234, 5678, follow_symlinks=False)
        os.chown(at(b"empty"), 1, 2)
    os.chmod(at(b"sticky"), 0o1777)
    os.chmod(at(b"read only"), 0o555)
    os.chmod(at(b"closed"), 0o700)
    os.utime(at(b"empty"), ns=(0, 1234567890000000001))


def attributes(file, folder):
    """Not every file system has them."""
    try:
        os.setxattr(file, "user.one", b"\0\1\2")
        os.setxattr(file, "user.two", b"")
        os.setxattr(folder, "user.folder", b"yes")
    except OSError as e:
        print("no xattrs here:", e, file=sys.stderr)


def change(top):
    top = os.fsencode(top)

    def at(name):
        return os.path.join(top, name)

    os.chmod(at(b"read only"), 0o755)
    os.unlink(at(b"read only/f"))
    write(at(b"read only/g"), b"g", 0o444)
    os.chmod(at(b"read only"), 0o555)
    write(at(b"size 65536"), noise(65536, 7))
    with open(at(b"size 5242880"), "r+b") as f:
        f.seek(2 << 20)
        f.write(b"patched")
    os.unlink(at(b"program"))
    os.unlink(at(b"dangling"))
    os.mkdir(at(b"dangling"))
    write(at(b"dangling/now"), b"a directory")
    os.rmdir(at(b"empty"))
    write(at(b"empty"), b"a file")
    os.rename(at(b"\xff"), at(b"moved"))
    os.chmod(at(b"a.b"), 0o600)
    os.utime(at(b"a-b"), ns=(0, 1))
    os.unlink(at(b"fifo"))
    os.symlink(b"fifo", at(b"fifo"))
    write(at(b"new\xffer"), b"new")


def large(top):
    os.makedirs(top, exist_ok=True)
    with open(os.path.join(top, "sparse"), "wb") as f:
        f.truncate(5 << 30)
        for where in (0, 1 << 20, 3 << 30, (5 << 30) - 5):
            f.seek(where)
            f.write(b"data!")
    with open(os.path.join(top, "hole"), "wb") as f:
        f.truncate(1 << 40 >> 2)
    with open(os.path.join(top, "zeros"), "wb") as f:
        f.write(bytes(20 << 20))
    write(os.path.join(top, "dense"), noise(40 << 20, 1))


def digest(path, size):
    """Of all of it, or, where that would take long, of where the data is."""
    h = hashlib.sha256()
    with open(path, "rb") as f:
        at = 0
        while at < size:
            try:
                at = os.lseek(f.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
            while at < end:
                piece = os.pread(f.fileno(), min(1 << 20, end - at), at)
                # Whether zeros are data or a hole is no matter of content.
                for i in range(0, len(piece), 4096):
                    block = piece[i:i + 4096]
                    if block.strip(b"\0"):
                        h.update(b"%d:" % (at + i) + block)
                at += len(piece)
    return h.hexdigest()


def describe(top):
    top = os.fsencode(top)
    lines, inodes = [], {}
    for folder, folders, files in os.walk(top):
        if folder == top and OURS in folders:
            folders.remove(OURS)
        for name in folders + files:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            line = [repr(path[len(top) + 1:]), oct(st.st_mode),
                    f"{st.st_uid}:{st.st_gid}", str(st.st_mtime_ns)]
            if stat.S_ISLNK(st.st_mode):
                line.append(repr(os.readlink(path)))
            if stat.S_ISREG(st.st_mode):
                line += [str(st.st_size), digest(path, st.st_size)]
                inodes.setdefault(st.st_ino, []).append(path[len(top) + 1:])
            if not stat.S_ISLNK(st.st_mode):
                line += [f"{a}={os.getxattr(path, a)!r}"
                         for a in sorted(os.listxattr(path))
                         if a.startswith("user.")]
            lines.append(" ".join(line))
    lines += ["one file: " + repr(sorted(names))
              for names in inodes.values() if len(names) > 1]
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    {"odd": odd, "change": change, "large": large,
     "describe": describe}[sys.argv[1]](sys.argv[2])
