import sys

from registry import *

r = Registry(sys.argv[1])


def describe():
    a = r.get("/v2/_cachemount/ext/v1")
    equal("status", 200, a.status)
    d = a.json()
    equal("what it is", ("cachemount", 1), (d["extension"], d["version"]))
    equal("features", {"missing", "zstd", "if-match"}, set(d["features"]))
    equal("limits", {"missing_digests": 1000, "manifest_bytes": 8 << 20,
                     "blob_bytes": 1 << 40}, d["limits"])


def missing():
    name = "ext/one"
    have = [r.push_blob(name, b"have %d" % i) for i in range(5)]
    lack = [sha256(b"lack %d" % i) for i in range(5)]
    asked = [x for pair in zip(lack, have) for x in pair]

    def ask(value, repo=name):
        return r.post_json(f"/v2/{repo}/_cachemount/missing", value)

    a = ask({"digests": asked})
    equal("missing, in order", (200, {"missing": lack}), (a.status, a.json()))
    equal("nothing asked", {"missing": []}, ask({"digests": []}).json())
    equal("twice the same", {"missing": [lack[0]] * 2},
          ask({"digests": [lack[0], have[0], lack[0]]}).json())
    equal("no such repository: all", {"missing": asked},
          ask({"digests": asked}, "ext/none").json())
    equal("asking does not mount", {"missing": have},
          ask({"digests": have}, "ext/two").json())
    equal("mount", {"missing": lack},
          ask({"digests": asked, "mount": True}, "ext/two").json())
    equal("mounted", {"missing": []}, ask({"digests": have}, "ext/two").json())
    equal("mounted: readable", b"have 3",
          r.get(f"/v2/ext/two/blobs/{have[3]}").body)
    thousand = [sha256(b"%d" % i) for i in range(1000)]
    equal("a thousand", {"missing": thousand},
          ask({"digests": thousand}).json())
    a = ask({"digests": thousand + have})
    equal("over a thousand", (400, "SIZE_INVALID"), (a.status, a.error()))
    for what, value in (
            ("no JSON", b"{"), ("nothing", b""), ("an array", []),
            ("no digests", {}), ("digests a string", {"digests": "x"}),
            ("a digest of no form", {"digests": ["sha256:x"]}),
            ("a digest a number", {"digests": [5]}),
            ("sha512", {"digests": ["sha512:" + "0" * 128]}),
            ("mount a string", {"digests": [], "mount": "yes"}),
            ("a doubled key", b'{"digests":[],"digests":[]}')):
        a = ask(value)
        check(f"{what}: 400", a.status == 400 and a.error(), a)
    a = ask({"digests": [have[0], "sha256:x"]})
    check("a bad digest: which", "digests[1]" in a.message(), a)
    a = r.post_json(f"/v2/{name}/_cachemount/missing",
                    b" " * 200000 + b'{"digests":[]}')
    equal("too long a body", 413, a.status)
    a = r.get(f"/v2/{name}/_cachemount/missing")
    equal("GET", 405, a.status)


describe()
missing()
done()
