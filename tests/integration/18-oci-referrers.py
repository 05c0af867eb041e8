import sys

from registry import *

r = Registry(sys.argv[1])
EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
SBOM = "application/vnd.example.sbom.v1+json;profile=x"


def artifact(name, subject, kind=None, annotations=None, size=7):
    value = image(r.push_blob(name, EMPTY), len(EMPTY), "", 0)
    value["config"]["mediaType"] = EMPTY_TYPE
    value["layers"] = []
    value["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject,
                        "size": size}
    if kind:
        value["artifactType"] = kind
    if annotations is not None:
        value["annotations"] = annotations
    return json.dumps(value).encode()


def put(name, body, kind=OCI_MANIFEST):
    a = r.put_manifest(name, sha256(body), body, kind)
    assert a.status == 201, a
    return a


def listing(name, subject, query=""):
    a = r.get(f"/v2/{name}/referrers/{subject}{query}")
    assert a.status == 200, a
    return a


def entries(a):
    return {d["digest"]: d for d in a.json()["manifests"]}


def nothing():
    for name in ("ref/none", "ref/one"):
        a = r.get(f"/v2/{name}/referrers/{sha256(b'none')}")
        equal(f"none in {name}: an empty index", (200, OCI_INDEX, {
            "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
            (a.status, a["Content-Type"], a.json()))
        equal(f"none in {name}: no Link, no filter", (None, None),
              (a["Link"], a["OCI-Filters-Applied"]))
        r.push_image("ref/one", "v1", "one")
    equal("an algorithm nobody uses: none", [],
          listing("ref/one", "sha384:" + "0" * 96).json()["manifests"])
    for bad in ("sha256:x", "sha256:" + "A" * 64, "latest", "sha512:12"):
        a = r.get(f"/v2/ref/one/referrers/{bad}")
        equal(f"bad digest {bad[:10]}", (400, "DIGEST_INVALID"),
              (a.status, a.error()))
    a = r.get(f"/v2/Ref/one/referrers/{sha256(b'x')}")
    equal("bad name", (400, "NAME_INVALID"), (a.status, a.error()))
    a = r.get(f"/v2/ref/one/referrers/{sha256(b'x')}?artifactType="
              + "a" * 256)
    equal("no media type is so long", 400, a.status)
    a = r.get(f"/v2/ref/one/referrers/{sha256(b'x')}?last=x")
    equal("bad last", 400, a.status)
    equal("another method", 405,
          r.delete(f"/v2/ref/one/referrers/{sha256(b'x')}").status)


def descriptors():
    name = "ref/two"
    subject = sha256(r.push_image(name, "v1", "two"))
    notes = {"org.example.a": "b", "c": "\u00e9 \\ \""}
    typed = artifact(name, subject, SBOM, notes)
    plain = artifact(name, subject)
    index = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 7},
        "annotations": {"x": "y"}}).encode()
    for body, kind in ((typed, OCI_MANIFEST), (plain, OCI_MANIFEST),
                       (index, OCI_INDEX)):
        a = put(name, body, kind)
        equal("PUT tells the subject", subject, a["OCI-Subject"])
    got = entries(listing(name, subject))
    equal("a typed one", {
        "mediaType": OCI_MANIFEST, "size": len(typed),
        "digest": sha256(typed), "artifactType": SBOM,
        "annotations": notes}, got.pop(sha256(typed)))
    equal("its config's type, where it has none", {
        "mediaType": OCI_MANIFEST, "size": len(plain),
        "digest": sha256(plain), "artifactType": EMPTY_TYPE},
        got.pop(sha256(plain)))
    equal("an index has none", {
        "mediaType": OCI_INDEX, "size": len(index), "digest": sha256(index),
        "annotations": {"x": "y"}}, got.pop(sha256(index)))
    equal("and no more", {}, got)
    a = listing(name, subject, "?artifactType=" + quote(SBOM, safe=""))
    equal("filtered", ([sha256(typed)], "artifactType"),
          (list(entries(a)), a["OCI-Filters-Applied"]))
    a = listing(name, subject, "?artifactType=x/none")
    equal("filtered to nothing", ({}, "artifactType"),
          (entries(a), a["OCI-Filters-Applied"]))
    a = listing(name, subject, "?artifactType=")
    equal("an empty filter is none", (3, None),
          (len(entries(a)), a["OCI-Filters-Applied"]))
    equal("another repository has none", {},
          entries(listing("ref/one", subject)))
    h = r.head(f"/v2/{name}/referrers/{subject}")
    equal("HEAD", (200, OCI_INDEX, b""), (h.status, h["Content-Type"], h.body))


def missing_subject():
    name = "ref/three"
    for digest in (sha256(b"later"), sha512(b"later")):
        body = artifact(name, digest, SBOM)
        equal(f"missing {digest[:6]}: told", digest,
              put(name, body)["OCI-Subject"])
        equal(f"missing {digest[:6]}: listed", [sha256(body)],
              list(entries(listing(name, digest))))
    body = r.push_image(name, "plain", "three")
    a = r.put_manifest(name, "plain", body)
    equal("no subject, no OCI-Subject", None, a["OCI-Subject"])


def life():
    """A referrer goes with itself; what becomes of its subject is nothing to
    it."""
    name = "ref/four"
    image_body = r.push_image(name, "v1", "four")
    subject = sha256(image_body)
    one, two = (artifact(name, subject, SBOM, {"n": n}) for n in "12")
    put(name, one)
    a = r.put_manifest(name, "tagged", two)
    equal("by tag, too", subject, a["OCI-Subject"])
    equal("two", {sha256(one), sha256(two)},
          set(entries(listing(name, subject))))
    r.delete(f"/v2/{name}/manifests/{subject}")
    equal("the subject is gone", 404,
          r.get(f"/v2/{name}/manifests/{subject}").status)
    equal("its referrers are not", 2, len(entries(listing(name, subject))))
    equal("they can be pulled", 200,
          r.get(f"/v2/{name}/manifests/{sha256(one)}").status)
    r.put_manifest(name, "v1", image_body)
    equal("it comes back to them", 2, len(entries(listing(name, subject))))
    r.delete(f"/v2/{name}/manifests/tagged")
    equal("without its tag it is still one", 2,
          len(entries(listing(name, subject))))
    for body in (one, two):
        r.delete(f"/v2/{name}/manifests/{sha256(body)}")
    equal("none is left", {}, entries(listing(name, subject)))


def follow(name, subject, query=""):
    """All pages; the number of entries of each."""
    path, sizes, seen = f"/v2/{name}/referrers/{subject}{query}", [], []
    while path and len(sizes) < 50:
        a = r.get(path)
        assert a.status == 200, a
        if query:
            assert a["OCI-Filters-Applied"] == "artifactType", a
        sizes.append(len(a.json()["manifests"]))
        seen += [d["digest"] for d in a.json()["manifests"]]
        link = a["Link"]
        if link:
            check_link = link.startswith("</v2/") and \
                link.endswith('>; rel="next"')
            assert check_link, link
        path = link[1:link.index(">")] if link else None
    equal("each once, in order", sorted(set(seen)), seen)
    return sizes


def pages():
    name, subject = "ref/many", sha256(b"many")
    for n in range(300):
        put(name, artifact(name, subject, SBOM if n % 2 else "a/b",
                           {"n": str(n)}))
    equal("300 in two pages", [256, 44], follow(name, subject))
    for n in range(220):
        put(name, artifact(name, subject, SBOM, {"m": str(n)}))
    equal("filtered pages", [256, 114],
          follow(name, subject, "?artifactType=" + quote(SBOM, safe="")))


def large():
    """However long the annotations are, a page has a bound."""
    name, subject = "ref/large", sha256(b"large")
    for n in range(6):
        put(name, artifact(name, subject, SBOM,
                           {"n": str(n), "x": "y" * 900000}))
    equal("two of 900 kB a page", [2, 2, 2], follow(name, subject))
    put(name, artifact(name, sha256(b"huge"), SBOM, {"x": "y" * (7 << 20)}))
    equal("one of 7 MiB", [1], follow(name, sha256(b"huge")))


nothing()
descriptors()
missing_subject()
life()
pages()
large()
done()
