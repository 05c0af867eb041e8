import re
import sys
import time
from pathlib import Path

from registry import *

r = Registry(sys.argv[1])
DATA = Path(sys.argv[2])
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def stats():
    a = r.get("/api/v1/stats")
    equal("stats", 200, a.status)
    s = a.json()
    equal("stats: parts", {"version", "store", "ratios", "counters",
                           "history", "quotas", "server", "scrub", "backup"},
          set(s))
    equal("stats: an empty store", (0, 0, None),
          (s["store"]["tags"], s["store"]["blobs"],
           s["ratios"]["deduplication"]))
    equal("stats: limits, whole and of their types", (int, bool),
          (type(s["store"].get("slowest_batch_us")),
           type(s["store"].get("eviction_stuck"))))
    check("stats: started", TIME.match(s["server"]["started"]), s)
    body = r.push_image("st/a", "v1", "stats")
    r.push_image("st/b", "v1", "stats")
    s = r.get("/api/v1/stats").json()["store"]
    equal("stats: counted; a manifest is a blob too, and one for each of its "
          "repositories",
          {"repositories": 2, "tags": 2, "manifests": 2, "blobs": 3},
          {k: s[k] for k in ("repositories", "tags", "manifests", "blobs")})
    layers = sum(d["size"] for d in json.loads(body)["layers"])
    config = json.loads(body)["config"]["size"]
    equal("stats: content", layers + config + len(body), s["content_bytes"])
    equal("stats: referenced twice", 2 * s["content_bytes"],
          s["referenced_bytes"])
    check("stats: all numbers", all(isinstance(v, int) for v in s.values()), s)
    location = r.begin("st/a")
    equal("stats: a session", 1,
          r.get("/api/v1/stats").json()["store"]["uploads"])
    r.delete(location)


def all_pages(path, key):
    out, last = [], None
    while len(out) < 1000:
        query = ("&" if "?" in path else "?") + "last=" + quote(last) \
            if last else ""
        page = r.get(path + query).json()
        out += page[key]
        last = page.get("next")
        if not last:
            return out
    return out


def listings():
    names = ["ls/a", "ls/a-b", "ls/a/x", "ls/b", "lsx/c"]
    for name in names:
        body = r.push_image(name, "v1", name)
        r.put_manifest(name, "v2", body)
    for n in (1, 2, 100):
        got = [x for x in all_pages(f"/api/v1/repositories?n={n}",
                                    "repositories") if x.startswith("ls")]
        equal(f"repositories by {n}", sorted(names), got)
        got = all_pages(f"/api/v1/repositories?prefix=ls&n={n}",
                        "repositories")
        equal(f"repositories of a prefix by {n}", names[:4], got)
        got = all_pages(f"/api/v1/tags?prefix=ls&n={n}", "tags")
        equal(f"tags of a prefix by {n}",
              [(x, t) for x in sorted(names[:4]) for t in ("v1", "v2")],
              [(t["repository"], t["tag"]) for t in got])
        got = all_pages(f"/api/v1/tags?repository=ls/a&n={n}", "tags")
        equal(f"tags of one by {n}", [("ls/a", "v1"), ("ls/a", "v2")],
              [(t["repository"], t["tag"]) for t in got])
    tag = r.get("/api/v1/tags?repository=ls/b").json()["tags"][0]
    m = r.get("/v2/ls/b/manifests/v1")
    equal("tag: keys", {"repository", "tag", "digest", "mediaType",
                        "artifactType", "size", "created", "updated",
                        "pulled", "writer", "pinned", "importable"}, set(tag))
    equal("tag: what it names", (m["Docker-Content-Digest"], OCI_MANIFEST),
          (tag["digest"], tag["mediaType"]))
    value = m.json()
    equal("tag: size", len(m.body) + value["config"]["size"]
          + value["layers"][0]["size"], tag["size"])
    check("tag: times", TIME.match(tag["created"])
          and TIME.match(tag["updated"]), tag)
    equal("tag: written by nobody in particular", None, tag["writer"])
    typed = dict(value, artifactType="application/x-test")
    r.put_manifest("ls/typed", "t", typed)
    r.push_image("ls/typed", "other", "ls/b")
    r.put_manifest("ls/typed", "t", typed)
    got = {t["tag"]: t["artifactType"] for t in
           r.get("/api/v1/tags?repository=ls/typed").json()["tags"]}
    equal("tag: artifactType", {"t": "application/x-test", "other": None},
          got)
    a = r.get("/api/v1/tags?repository=ls/nowhere")
    equal("tags of no repository", (404, "not-found"), (a.status, a.error()))
    equal("tags of an empty prefix", {"tags": []},
          r.get("/api/v1/tags?prefix=nowhere").json())
    for query in ("tags?n=x", "tags?last=x", "tags?last=A:x",
                  "tags?last=a:.", "tags?prefix=A", "tags?repository=a/",
                  "tags?repository=a&prefix=b", "repositories?n=-1",
                  "repositories?last=A", "repositories?prefix=.."):
        a = r.get("/api/v1/" + query)
        equal(query, (400, "invalid"), (a.status, a.error()))
    a = r.get("/api/v1/nothing")
    equal("unknown path", (404, "not-found"), (a.status, a.error()))
    equal("wrong method", 405, r.get("/api/v1/purge").status)


def purge(**f):
    a = r.post_json("/api/v1/purge", f)
    assert a.status == 200, a
    return a.json()


def purging():
    for name in ("pu/a", "pu/a/x", "pu/ab", "pu/b"):
        for tag in ("v1", "v2"):
            r.push_image(name, tag, name + tag)
    dry = purge(prefix="pu/a", dry_run=True)
    equal("dry run: tags", (4, True), (dry["tags"], dry["dry_run"]))
    equal("dry run: nothing gone", 200,
          r.get("/v2/pu/a/manifests/v1").status)
    wet = purge(prefix="pu/a")
    equal("as many as the dry run said", dict(dry, dry_run=False), wet)
    equal("gone, gone, there", [404, 404, 200, 200],
          [r.get(f"/v2/{n}/manifests/v1").status
           for n in ("pu/a", "pu/a/x", "pu/ab", "pu/b")])
    equal("a tag", 1, purge(repository="pu/b", tag="v1")["tags"])
    equal("the other stays", 200, r.get("/v2/pu/b/manifests/v2").status)
    equal("older than an hour", 0,
          purge(prefix="pu", older_than="1h")["tags"])
    time.sleep(1.1)
    r.push_image("pu/new", "v1", "new")
    equal("older than a second", 3, purge(prefix="pu", older_than="1s")["tags"])
    equal("the new one stays", 200, r.get("/v2/pu/new/manifests/v1").status)
    equal("unused for an hour", 0, purge(prefix="pu", unused_for="1h")["tags"])
    equal("no writer of that name", 0,
          purge(prefix="pu", writer="ghost")["tags"])
    equal("again, by name", 1, purge(repository="pu/new")["tags"])
    equal("shared blobs stay", 200, r.get("/v2/ls/b/manifests/v1").status)
    for what, f in (
            ("nothing", {}), ("only dry_run", {"dry_run": True}),
            ("all false", {"all": False}),
            ("all and more", {"all": True, "prefix": "pu"}),
            ("an unknown field", {"prefix": "pu", "olderthan": "1d"}),
            ("both", {"repository": "pu/a", "prefix": "pu"}),
            ("a duration that is none", {"older_than": "soon"}),
            ("a duration that is a number", {"older_than": 5}),
            ("a very long duration", {"older_than": "100000w"}),
            ("an illegal name", {"repository": "../a"}),
            ("an empty prefix", {"prefix": ""}),
            ("an illegal tag", {"tag": "a b"}),
            ("dry_run a string", {"prefix": "pu", "dry_run": "yes"}),
            ("an array", []), ("no JSON", b"{"), ("no body", b"")):
        a = r.post_json("/api/v1/purge", f)
        equal(f"purge by {what}", (400, "invalid"), (a.status, a.error()))
    equal("nothing of that purged a thing", 200,
          r.get("/v2/ls/b/manifests/v1").status)


def verify(**f):
    a = r.post_json("/api/v1/verify", f)
    assert a.status == 200, a
    return a.json()


def verifying():
    body = r.push_image("ver/a", "v1", "verify")
    layer = json.loads(body)["layers"][0]["digest"]
    v = verify(repository="ver/a", tag="v1")
    equal("verify a tag", ([sha256(body), json.loads(body)["config"]["digest"],
                            layer], ["ok"] * 3, False),
          ([x["digest"] for x in v["results"]],
           [x["status"] for x in v["results"]], v["more"]))
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": sha256(body),
         "size": len(body)}]}
    r.put_manifest("ver/a", "index", index, OCI_INDEX)
    v = verify(repository="ver/a", tag="index")
    equal("verify an index and what it holds", 4, len(v["results"]))
    v = verify(repository="ver/a", digests=[layer, sha256(b"none")])
    equal("verify by digest", ["ok", "missing"],
          [x["status"] for x in v["results"]])
    v = verify(repository="ver/b", digests=[layer])
    equal("verify in another repository", "missing",
          v["results"][0]["status"])
    v = verify(repository="ver/a", digests=[layer] * 2500)
    equal("verify at most a thousand", (1000, True, 1000),
          (len(v["results"]), v["more"], v["next"]))
    v = verify(repository="ver/a", digests=[layer] * 2500, offset=2000)
    equal("verify the rest", (500, False), (len(v["results"]), v["more"]))
    for what, f in (
            ("nothing", {}), ("no repository", {"tag": "v1"}),
            ("neither", {"repository": "ver/a"}),
            ("both", {"repository": "ver/a", "tag": "v1", "digests": []}),
            ("no digest", {"repository": "ver/a", "digests": ["x"]}),
            ("a bad offset", {"repository": "ver/a", "tag": "v1",
                              "offset": -1}),
            ("an unknown field", {"repository": "ver/a", "tags": "v1"})):
        equal(f"verify {what}", 400,
              r.post_json("/api/v1/verify", f).status)
    equal("verify no tag", 404, r.post_json(
        "/api/v1/verify", {"repository": "ver/a", "tag": "no"}).status)


def damage():
    data = noise(300000, b"damage")
    digest = r.push_blob("ver/bad", data)
    found = [p for p in DATA.rglob("*") if p.name.startswith(digest[7:])]
    if not check("the blob's file is found", len(found) == 1, found):
        return
    found[0].chmod(0o600)
    with open(found[0], "r+b") as f:
        f.seek(150000)
        f.write(b"damaged")
    v = verify(repository="ver/bad", digests=[digest])
    equal("damage is found", "corrupt", v["results"][0]["status"])
    equal("and the blob is absent", 404,
          r.get(f"/v2/ver/bad/blobs/{digest}").status)
    equal("and in quarantine", 1,
          r.get("/api/v1/stats").json()["store"]["quarantined"])
    r.push_blob("ver/bad", data)
    equal("and can be pushed anew", data,
          r.get(f"/v2/ver/bad/blobs/{digest}").body)


def pin(**f):
    return r.post_json("/api/v1/pin", f)


def limits():
    r.push_image("pin/a", "v1", "pin1")
    r.push_image("pin/a", "v2", "pin2")
    a = pin(repository="pin/a", tag="v1")
    equal("pin a tag", (200, True, 1),
          (a.status, a.json()["pinned"], a.json()["pinned_tags"]))
    tags = r.get("/api/v1/tags?repository=pin/a").json()["tags"]
    equal("it is shown", {"v1": True, "v2": False},
          {t["tag"]: t["pinned"] for t in tags})
    equal("pin a repository", 2, pin(repository="pin/a").json()["pinned_tags"])
    r.push_image("pin/a", "v3", "pin3")
    equal("and what comes later", 3,
          r.get("/api/v1/stats").json()["store"]["pinned_tags"])
    equal("unpin it: the tag's own pin stays", 1,
          pin(repository="pin/a", pinned=False).json()["pinned_tags"])
    equal("unpin the tag", 0,
          pin(repository="pin/a", tag="v1", pinned=False).json()["pinned_bytes"])
    equal("pin what is not there", [404, 404],
          [pin(repository="pin/a", tag="no").status,
           pin(repository="pin/none").status])
    for what, f in (("nothing", {}), ("an illegal tag", {
            "repository": "pin/a", "tag": "a b"}), ("a string", {
                "repository": "pin/a", "pinned": "yes"}),
            ("an unknown field", {"repository": "pin/a", "tags": "v1"})):
        equal(f"pin {what}", 400, pin(**f).status)
    a = r.post_json("/api/v1/gc", {})
    equal("gc", (200, 0, False),
          (a.status, a.json()["evicted"]["tags"], a.json()["more"]))
    scopes = all_pages("/api/v1/scopes?n=2", "scopes")
    equal("scopes, by pages", scopes, all_pages("/api/v1/scopes", "scopes"))
    by_name = {s["scope"]: s for s in scopes}
    equal("a scope: what it references", (True, None),
          (by_name["pin"]["bytes"] > 0, by_name["pin"]["quota"]))
    equal("scopes add up",
          r.get("/api/v1/stats").json()["store"]["referenced_bytes"],
          sum(s["bytes"] for s in scopes))
    purge(prefix="pin")


stats()
listings()
limits()
purging()
verifying()
damage()
done()
