import sys

from registry import *

r = Registry(sys.argv[1])


def pages(name, query):
    """The tags of each page, following Link."""
    path, out = f"/v2/{name}/tags/list{query}", []
    while path and len(out) < 100:
        a = r.get(path)
        assert a.status == 200, a
        assert a.json()["name"] == name
        out.append(a.json()["tags"])
        link = a["Link"]
        if link:
            target, rel = link.split(";")
            assert rel.strip() == 'rel="next"', link
            path = target.strip("<> ")
        else:
            path = None
    return out


def listing():
    name = "tags/one"
    body = r.push_image(name, "b", "tags")
    wanted = ["B", "_x", "a", "a.b", "a-b", "aa", "b", "v1", "v10", "v2"]
    for tag in wanted:
        r.put_manifest(name, tag, body)
    wanted.sort()
    a = r.get(f"/v2/{name}/tags/list")
    equal("all", (200, {"name": name, "tags": wanted}), (a.status, a.json()))
    equal("all: type", "application/json", a["Content-Type"])
    equal("all: no Link", None, a["Link"])
    for n in (1, 3, 9, 10, 11):
        got = pages(name, f"?n={n}")
        equal(f"by {n}", wanted, sum(got, []))
        check(f"by {n}: pages are full", all(len(p) == n for p in got[:-1]),
              got)
        check(f"by {n}: no empty page", all(got), got)
    equal("n over the limit", wanted, sum(pages(name, "?n=999999999999"), []))
    a = r.get(f"/v2/{name}/tags/list?n=0")
    equal("n=0", ([], None), (a.json()["tags"], a["Link"]))
    equal("last", wanted[4:],
          sum(pages(name, f"?last={wanted[3]}"), []))
    equal("last between two", [t for t in wanted if t > "a0"],
          sum(pages(name, "?last=a0&n=2"), []))
    equal("last behind all", [[]], pages(name, "?last=zzz"))
    for query in ("n=-1", "n=x", "n=", "n=1.5", "last=.x", "last=a%2Fb",
                  "last="):
        a = r.get(f"/v2/{name}/tags/list?{query}")
        equal(query, (400, "UNSUPPORTED"), (a.status, a.error()))
    a = r.get("/v2/tags/none/tags/list")
    equal("no repository", (404, "NAME_UNKNOWN"), (a.status, a.error()))
    a = r.get("/v2/tags/list/tags/list")
    equal("a name that looks like an endpoint", 404, a.status)
    r.push_image("tags/list/blobs/uploads/manifests", "v1", "odd")
    equal("a name made of endpoints", ["v1"], r.get(
        "/v2/tags/list/blobs/uploads/manifests/tags/list").json()["tags"])
    for tag in wanted:
        r.delete(f"/v2/{name}/manifests/{tag}")
    a = r.get(f"/v2/{name}/tags/list")
    equal("no tag left", (200, []), (a.status, a.json()["tags"]))


def many():
    name = "tags/many"
    body = r.push_image(name, "t0000", "many")
    wanted = [f"t{i:04}" for i in range(1100)]
    for tag in wanted[1:]:
        r.put_manifest(name, tag, body)
    got = pages(name, "")
    equal("over a thousand: all of them", wanted, sum(got, []))
    equal("over a thousand: in pages", 1000, len(got[0]))


def names():
    """Names out of the grammar, and paths that try to leave it."""
    for name in ("A", "a/B", "a//b", "-a", "a-", "a/-b", "a..b", "a___b",
                 ".a", "a/.", "a/..", "..", "a%2Fb", "a%2fb", "a%20b",
                 "a/%2e%2e/b", "%E4", "a%", "a%zz", "a%00b", "a" * 256,
                 "a/" * 130 + "a", "a_/b", "a@b", "a:b"):
        a = r.get(f"/v2/{name}/tags/list")
        check(f"name {name[:20]}", a.status in (400, 404), a)
        check(f"name {name[:20]}: error body", a.error() is not None, a)
    for name in ("a", "a" * 200, "a/b/c/d/e/f", "a.b", "a_b", "a__b", "a--b",
                 "a---b", "0/1"):
        equal(f"name {name[:20]} is legal", (404, "NAME_UNKNOWN"),
              (lambda a: (a.status, a.error()))(
                  r.get(f"/v2/{name}/tags/list")))


listing()
many()
names()
done()
