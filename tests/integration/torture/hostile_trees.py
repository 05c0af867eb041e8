"""Snapshots that no honest client makes. Each has the right digests, so that
only the client's own rules stand between it and the disk."""

import base64
import json

M = {"mode": "644", "mtime_ns": 1700000000000000000}
CHUNK = bytes(range(256)) * 4096  # 1 MiB
REFUSED, TAMED = "refused", "tamed"


def file(path, size=4, **more):
    return {"path": path, "type": "file", **M, "size": size, "chunk": 0,
            "offset": 0, **more}


def folder(path, **more):
    return {"path": path, "type": "dir", **M, "mode": "755", **more}


def link(path, target, **more):
    return {"path": path, "type": "symlink", **M, "mode": "777",
            "target": target, **more}


def file64(raw, **more):
    entry = file("x", **more)
    del entry["path"]
    return {"path64": base64.b64encode(raw).decode(), **entry}


def empty(path):
    return {"path": path, "type": "file", **M, "size": 0}


def million(outside):
    """A million entries, and a path that leaves the mount as the last."""
    line = json.dumps(empty("%07d"))
    text = b'{"cachemount":"tree","version":1}\n'
    text += "".join(line % i + "\n" for i in range(1000000)).encode()
    return text + json.dumps(empty(f"~/..{outside}")).encode() + b"\n"


def deep(levels):
    lines, path = [], ""
    for _ in range(levels):
        path = path + "/d" if path else "d"
        lines.append(folder(path))
    return lines


def paths(outside):
    """Paths that lead out of the mount, or are none."""
    names = [f"{outside}/absolute", "/etc/hostile", "..", "../hostile",
             "a/../../hostile", "a/..", "./a", "a/./b", "a//b", "a/", "", ".",
             ".cachectl/state", ".cachectl", "n" * 256, "a" * 40000,
             "nul\0byte"]
    for name in names:
        yield f"path {name[:30]!r}", [file(name)]
    for raw in (b"../hostile", b"/etc/hostile", b"nul\0byte", b"\xff/../x"):
        yield f"path64 {raw!r}", [file64(raw)]
    yield "a path below a path with ..", [folder(".."), file("../hostile")]
    yield "no path", [{k: v for k, v in file("x").items() if k != "path"}]
    yield "path and path64", [{**file("x"), "path64": "eA=="}]


def links(outside):
    """A way out by links, and a file through it."""
    yield "a file through a link", [link("out", outside),
                                    file("out/hostile")]
    yield "a directory over a link", [link("out", outside), folder("out"),
                                      file("out/hostile")]
    yield "a link over a directory", [folder("out"), link("out", outside),
                                      file("out/hostile")]
    yield "a file through a link to ..", [link("up", ".."),
                                          file("up/hostile")]
    yield "a link below a file", [file("f"), link("f/l", outside)]
    yield "a hard link to nothing", [
        {"path": "h", "type": "file", "hlink": 7}]
    yield "a hard link to a link", [link("l", outside, hlink=1), {
        "path": "m", "type": "symlink", "hlink": 1}]


def types():
    for name in ("char", "block", "device", "socket", "", "FILE", "dir/"):
        yield f"type {name!r}", [{"path": "d", "type": name, **M,
                                  "major": 1, "minor": 3}]
    yield "a directory with a size", [{**folder("d"), "size": 4}]
    yield "a link with a size", [{**link("l", "x"), "size": 4}]
    yield "a link to nothing", [link("l", "")]
    yield "a link with a NUL", [link("l", "a\0b")]
    yield "mode 100644", [file("f", mode="100644")]
    yield "mode -1", [file("f", mode="-1")]
    yield "mode as a number", [file("f", mode=420)]
    yield "an xattr of root's", [file("f", xattrs={
        "security.capability": "AQAAAgAgAAAAAAAAAAAAAAAAAAA="})]
    yield "an xattr of trust", [file("f", xattrs={"trusted.x": "eA=="})]


def sizes():
    size = len(CHUNK)
    yield "a size bomb, sparse", [file("f", 1 << 62, data=[])]
    yield "a size bomb, all of one chunk", \
        [file(f"{i:07}", size) for i in range(1 << 20)] + \
        [file("z", 1 << 40, data=[])]
    yield "a negative size", [file("f", -1)]
    yield "a size beyond 64 bits", [file("f", 1 << 64)]
    yield "a size that is text", [file("f", "4")]
    yield "more than the chunks have", [file("f", size + 1)]
    yield "an offset behind the chunk", [file("f", 4, offset=size)]
    yield "a chunk that is not", [file("f", 4, chunk=1)]
    yield "a negative chunk", [file("f", 4, chunk=-1)]
    yield "no chunk", [{k: v for k, v in file("f").items() if k != "chunk"}]
    for name, data in (
            ("overlapping", [[0, 10], [5, 10]]),
            ("out of order", [[10, 5], [0, 5]]),
            ("outside the file", [[90, 20]]),
            ("empty", [[5, 0]]),
            ("negative", [[-5, 10]]),
            ("of negative length", [[5, -1]]),
            ("beyond 63 bits", [[(1 << 63) - 2, 10]]),
            ("that are no pairs", [[1, 2, 3]]),
            ("that are text", "0-10")):
        yield f"extents {name}", [file("f", 100, data=data)]


def text():
    """What is no tree at all."""
    head = b'{"cachemount":"tree","version":1}\n'
    good = json.dumps(file("f")).encode()
    for name, blob in (
            ("an empty tree blob", b""),
            ("no header", good + b"\n"),
            ("a later version", b'{"cachemount":"tree","version":2}\n'),
            ("no newline at the end", head + good),
            ("no JSON", head + b"hello\n"),
            ("an array", head + b"[]\n"),
            ("an empty line", head + b"\n" + good + b"\n"),
            ("two objects in a line", head + good + good + b"\n"),
            ("a doubled key", head + b'{"path":"a",' + good[1:] + b"\n"),
            ("a doubled path", head + good + b"\n" + good + b"\n"),
            ("no order", head + json.dumps(file("b")).encode() + b"\n" +
             json.dumps(file("a")).encode() + b"\n"),
            ("no UTF-8", head + good.replace(b'"f"', b'"\xff"') + b"\n"),
            ("a raw NUL", head + good + b"\0\n"),
            ("nesting", head + b'{"x":' + b"[" * 100000 + b"\n"),
            ("binary", b"\x7fELF" + bytes(range(256)) * 10)):
        yield name, blob


def manifests():
    """Manifests that lie about the tree and the chunks."""
    def change(**fields):
        return lambda m: m["config"].update(fields)

    def layer(**fields):
        return lambda m: m["layers"][0].update(fields)

    yield "a tree of 2^62 bytes", change(size=1 << 62)
    yield "a tree of one byte more", lambda m: m["config"].update(
        size=m["config"]["size"] + 1)
    yield "a tree of another type", change(mediaType="text/plain")
    yield "a tree that is absent", change(digest="sha256:" + "0" * 64)
    yield "a chunk of 0 bytes", layer(size=0)
    yield "a chunk of 2^40 bytes", layer(size=1 << 40)
    yield "a chunk of one byte more", layer(size=len(CHUNK) + 1)
    yield "a chunk that is absent", layer(digest="sha256:" + "1" * 64)
    yield "a chunk with the digest of another", lambda m: m["layers"][
        0].update(digest=m["config"]["digest"])
    yield "no artifact type", lambda m: m.pop("artifactType")
    yield "no layers", lambda m: m.pop("layers")
    yield "layers that are no list", lambda m: m.update(layers={"a": 1})
    yield "sixty thousand layers", lambda m: m.update(
        layers=m["layers"] * 60000)
