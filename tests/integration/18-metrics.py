import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import exposition
from exposition import Exposition
from registry import *

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
SNAPSHOT = "application/vnd.cachemount.snapshot.v1"
CACHECONFIG = "application/vnd.buildkit.cacheconfig.v0"
BLOB = "/v2/{name}/blobs/{digest}"
MANIFEST = "/v2/{name}/manifests/{reference}"
GARBAGE = 500

SECRETS = {"admin": "pull,admin **", "reader": "pull **",
           "half": "admin main/**", "narrow": "pull main/**"}


def scrape(r, **headers):
    """On the connection of what came before: so that it has been counted."""
    a = r.get("/metrics", **headers)
    assert a.status == 200, a
    return Exposition(a.body.decode(), headers.get("accept") is not None)


class Changes:
    """What a figure grew by since."""

    def __init__(self, r):
        self.r, self.before = r, scrape(r)

    def now(self):
        self.after = scrape(self.r)
        return self

    def by(self, name, **labels):
        return (self.after.sum(name, **labels)
                - self.before.sum(name, **labels))

    def lookups(self, kind, scope):
        return tuple(self.by("cachemount_lookups_total", kind=kind,
                             scope=scope, result=result)
                     for result in ("hit", "miss", "error"))


def form(r):
    exposition.self_test()
    a = r.get("/metrics")
    equal("the format's media type", (200, TEXT),
          (a.status, a["Content-Type"]))
    e = Exposition(a.body.decode())
    check("well-formed, and not empty", e.series() > 30)
    check("base units and one prefix", all(
        f.startswith(("cachemount_", "process_")) for f in e.families),
          list(e.families))
    a = r.get("/metrics", accept="application/openmetrics-text;"
              "version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    equal("OpenMetrics' media type", OPENMETRICS, a["Content-Type"])
    o = Exposition(a.body.decode(), True)
    strip = {n[:-6] if t == "counter" else n: (t, h)
             for n, (t, h) in e.families.items()}
    equal("the same families", strip, o.families)
    equal("HEAD", (200, b""), (r.head("/metrics").status,
                               r.head("/metrics").body))
    equal("a POST", 405, r.request("POST", "/metrics").status)
    equal("beneath it is nothing", 404, r.get("/metrics/x").status)
    equal("version", 1.0, sum(e.samples["cachemount_build_info"].values()))


def reading(r):
    body = r.push_image("main/app", "v1", "app")
    layer = json.loads(body)["layers"][0]
    data = f"/v2/main/app/blobs/{layer['digest']}"
    c = Changes(r)
    for _ in range(3):
        r.get("/v2/main/app/manifests/v1")
    for _ in range(2):
        r.get("/v2/main/app/manifests/nothing")
    for _ in range(4):
        r.get(data)
    r.get(f"/v2/main/app/blobs/{sha256(b'nothing')}")
    r.head("/v2/main/app/manifests/v1")
    c.now()
    equal("an image read 3 times", (3, 0, 0), c.lookups("image", "main"))
    equal("a manifest asked about, and 2 misses", (1, 2, 0),
          c.lookups("manifest", "main"))
    equal("a blob read 4 times, missed once", (4, 1, 0),
          c.lookups("blob", "main"))
    equal("bytes of the image", 3 * len(body),
          c.by("cachemount_served_bytes_total", kind="image", scope="main"))
    check("bytes of the blob", c.by("cachemount_served_bytes_total",
                                    kind="blob", scope="main")
          >= 4 * layer["size"])
    equal("by route and status", [3, 2, 1, 4, 1], [
        c.by("cachemount_requests_total", route=route, method=method,
             status=status)
        for route, method, status in (
            (MANIFEST, "GET", "2xx"), (MANIFEST, "GET", "4xx"),
            (MANIFEST, "HEAD", "2xx"), (BLOB, "GET", "2xx"),
            (BLOB, "GET", "4xx"))])
    equal("durations are counted", 5,
          c.by("cachemount_request_duration_seconds_count", route=BLOB))
    check("and take some time", 0 < c.by(
        "cachemount_request_duration_seconds_sum", route=BLOB) < 60)


def kinds(r):
    empty = r.push_blob("kinds/a", b"{}")
    c = Changes(r)
    for tag, value in (
            ("snapshot", {"artifactType": SNAPSHOT}),
            ("cache", {"config": {"mediaType": CACHECONFIG, "size": 2,
                                  "digest": empty}}),
            ("thing", {"artifactType": "application/x-thing"})):
        value = dict(image(empty, 2, empty, 2), layers=[], **value)
        a = r.put_manifest("kinds/a", tag, value)
        assert a.status == 201, a
        r.get(f"/v2/kinds/a/manifests/{tag}")
    r.request("GET", "/v2/kinds/a/manifests/none",
              headers={"User-Agent": "cachectl/1"})
    r.request("HEAD", "/v2/kinds/a/manifests/snapshot",
              headers={"User-Agent": "cachectl/1"})
    config = noise(1100000)
    r.put_manifest("kinds/a", "large", dict(
        image(r.push_blob("kinds/a", config), len(config), empty, 2),
        config={"mediaType": CACHECONFIG, "size": len(config),
                "digest": sha256(config)}))
    c.now()
    equal("a build cache too large to be imported", 1,
          c.by("cachemount_unreadable_caches_total"))
    equal("a snapshot; one that cachectl missed, one it asked about",
          (2, 1, 0), c.lookups("snapshot", "kinds"))
    equal("a build cache", (1, 0, 0), c.lookups("buildkit-cache", "kinds"))
    equal("another artifact", (1, 0, 0), c.lookups("manifest", "kinds"))
    equal("no image among them", (0, 0, 0), c.lookups("image", "kinds"))


def uploading(r):
    data, absent = noise(5000, b"up"), sha256(b"absent")
    c = Changes(r)
    r.head(f"/v2/up/a/blobs/{sha256(data)}")
    digest = r.push_blob("up/a", data)
    r.head(f"/v2/up/a/blobs/{digest}")
    r.post_json("/v2/up/a/_cachemount/missing",
                {"digests": [digest, absent, sha256(b"x")]})
    r.request("POST", f"/v2/up/b/blobs/uploads/?mount={digest}&from=up/a")
    before = c.now().after.sum("cachemount_uploads_open")
    location = r.begin("up/a")
    c.now()
    equal("3 uploads spared, 3 needed", (3, 3, 0), c.lookups("upload", "up"))
    check("bytes received", c.by("cachemount_received_bytes_total",
                                 scope="up", kind="upload") >= 5000)
    equal("a session is open", 1,
          c.after.sum("cachemount_uploads_open") - before)
    check("leases are held", c.after.sum("cachemount_leases") >= 1)
    r.delete(location)


def garbage(r):
    before = scrape(r)
    c = Changes(r)
    for i in range(GARBAGE):
        r.get(f"/v2/garbage-{i}/x/manifests/none")
    c.now()
    equal("scopes that are nowhere make no label",
          before.label_values("scope") | {"other"},
          c.after.label_values("scope"))
    equal("they count as others", (0, GARBAGE, 0),
          c.lookups("manifest", "other"))
    check("nor other series", c.after.series() <= before.series() + 12,
          before.series(), c.after.series())
    for path in ("/v2/%22%5C%0a/x/manifests/a", "/v2/UP/manifests/a",
                 "/nothing/" + "x" * 300, "/api/v1/%22", "//", "/v2/x y"):
        r.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
              .encode())
    equal("nor do names that are none", c.after.label_values("scope"),
          scrape(r).label_values("scope"))
    c = Changes(r)
    r.push_image("other/app", "v1", "other")
    r.get("/v2/other/app/manifests/v1")
    equal("a scope called other is one of them", (1, 0, 0),
          c.now().lookups("image", "other"))


def many_scopes(r):
    """More scopes that are real than there is room for."""
    for i in range(100):
        r.push_blob(f"many-{i}/x", b"many")
    e = scrape(r)
    check("the labels stay few", len(e.label_values("scope")) <= 65,
          len(e.label_values("scope")))
    text = r.get("/metrics").body
    check("and the answer small", len(text) < 512 << 10, len(text))


def gauges(r, pid):
    e = scrape(r)
    store = r.get("/api/v1/stats").json()["store"]
    for gauge, key in (
            ("store_bytes", "stored_bytes"),
            ("store_content_bytes", "content_bytes"),
            ("store_referenced_bytes", "referenced_bytes"),
            ("store_blobs", "blobs"), ("store_tags", "tags"),
            ("store_manifests", "manifests"),
            ("store_repositories", "repositories"),
            ("store_quarantined_blobs", "quarantined")):
        equal(f"gauge {gauge}", store[key], e.value("cachemount_" + gauge))
    equal("one connection, of this test", 1,
          e.value("cachemount_connections"))
    equal("one request, this one", 1,
          e.value("cachemount_requests_in_flight"))
    status = dict(line.split(":", 1) for line in
                  Path(f"/proc/{pid}/status").read_text().splitlines())
    rss = int(status["VmRSS"].split()[0]) * 1024
    check("resident memory", 0.5 < e.value("process_resident_memory_bytes")
          / rss < 2, rss, e.value("process_resident_memory_bytes"))
    fds = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    check("descriptors", abs(e.value("process_open_fds") - fds) <= 3, fds,
          e.value("process_open_fds"))
    age = datetime.now(timezone.utc).timestamp() - e.value(
        "process_start_time_seconds")
    check("start time", 0 <= age < 600, age)
    check("processor time", 0 < e.value("process_cpu_seconds_total") < 600)


def totals(history, kind):
    days = [d["kinds"].get(kind, {}) for d in history["days"]]
    return tuple(sum(d.get(k, 0) for d in days)
                 for k in ("hits", "misses", "sent_bytes"))


def history(r):
    """The history has what the metrics have: both began with this store."""
    e = scrape(r)
    stats = r.get("/api/v1/stats").json()
    h = stats["history"]
    for kind in ("image", "blob", "manifest", "snapshot", "upload"):
        equal(f"history of {kind}", (
            e.sum("cachemount_lookups_total", kind=kind, result="hit"),
            e.sum("cachemount_lookups_total", kind=kind, result="miss"),
            e.sum("cachemount_served_bytes_total", kind=kind)),
              totals(h, kind))
    scopes = {s["scope"]: s["kinds"] for s in h["scopes"]}
    check("history: at most 50 scopes", len(scopes) == 50, len(scopes))
    equal("history of a scope", e.sum("cachemount_lookups_total",
                                      scope="main", kind="blob",
                                      result="hit"),
          scopes["main"]["blob"]["hits"])
    check("history: today", h["days"][-1]["age"] in (0, 1), h["days"])


def exact(url, pid):
    r = Registry(url)
    form(r)
    reading(r)
    kinds(r)
    uploading(r)
    garbage(r)
    many_scopes(r)
    gauges(r, int(pid))
    history(r)


def removals(url):
    """A purge of three tags, and a limit that eighty images are too many for."""
    r = Registry(url)
    purged = dict(reason="purge")
    c = Changes(r)
    for tag in "abc":
        r.push_image("gone/a", tag, tag)
    said = r.post_json("/api/v1/purge", {"prefix": "gone"}).json()
    c.now()
    equal("purged", tuple(said[k] for k in ("tags", "manifests", "blobs",
                                            "bytes")), tuple(
        c.by(f"cachemount_evicted_{k}_total", **purged)
        for k in ("tags", "manifests", "blobs", "bytes")))
    for i in range(80):
        data = noise(1 << 17, b"%d" % i)
        layer, empty = r.push_blob("full/a", data), r.push_blob(
            "full/a", b"{}")
        r.put_manifest("full/a", f"t{i}", image(empty, 2, layer, len(data)))
        if i >= 50:
            time.sleep(1.5 if i == 50 else 0)  # the first ones' leases end
            r.post_json("/api/v1/gc", {})
    stats = r.get("/api/v1/stats").json()
    s = stats["store"]
    e = scrape(r)
    equal("quotas", [("full", 30 << 20), ("unused", 1 << 30)],
          [(q["scope"], q["quota"]) for q in stats["quotas"]])
    for q in stats["quotas"]:
        equal(f"quota of {q['scope']}", (q["quota"], q["bytes"]),
              (e.value("cachemount_quota_bytes", scope=q["scope"]),
               e.value("cachemount_quota_used_bytes", scope=q["scope"])))
    check("a quota in use", stats["quotas"][0]["bytes"] > 1 << 20)
    equal("the limit and its marks",
          [s["limit_bytes"], s["high_bytes"], s["low_bytes"]],
          [e.value("cachemount_store_limit_bytes", type=t)
           for t in ("reject", "evict", "evict-until")])
    check("used, below the mark", 0 < e.value("cachemount_store_used_bytes")
          <= s["high_bytes"], s)
    check("evicted by size", e.value("cachemount_evicted_tags_total",
                                     reason="size") >= 1)
    check("and bytes of it", e.value("cachemount_evicted_bytes_total",
                                     reason="size") >= 1 << 17)
    before = e.value("cachemount_ghost_hits_total")
    equal("the first has gone", 404, r.get("/v2/full/a/manifests/t0").status)
    equal("a larger limit would have answered", 1,
          scrape(r).value("cachemount_ghost_hits_total") - before)


def secret(name):
    return "secret-of-" + name


def permission(url, figures):
    """Scopes are named in it: for admins of all, or on a port of its own."""
    for name, status in (("admin", 200), ("reader", 403), ("half", 403)):
        equal(f"{name} on the main port", status,
              Registry(url, secret(name)).get("/metrics").status)
    nobody = Registry(url)
    for _ in range(3):
        equal("nobody on the main port", 401, nobody.get("/metrics").status)
    f = Registry(figures)
    e = scrape(f)
    equal("turned away, by reason", (3, 2), (
        e.value("cachemount_denied_total", reason="unauthenticated"),
        e.value("cachemount_denied_total", reason="forbidden")))
    equal("its own requests are not counted", 6,
          scrape(f).sum("cachemount_requests_total", route="/metrics"))
    equal("probes there", 200, f.get("/readyz").status)
    for path in ("/v2/", "/api/v1/stats", "/v2/a/tags/list"):
        equal(f"no {path} there", 404, f.get(path).status)
    scopes = {name: [s["scope"] for s in Registry(url, secret(name)).get(
        "/api/v1/stats").json()["history"]["scopes"]]
        for name in ("reader", "narrow")}
    check("stats: who reads all sees all scopes", {"main", "kinds", "other"}
          <= set(scopes["reader"]), scopes)
    equal("stats: who reads one sees that", ["main"], scopes["narrow"])


if sys.argv[1] == "tokens":
    for name, grant in SECRETS.items():
        print(name, grant, sha256(secret(name).encode()))
    sys.exit(0)
{"exact": exact, "permission": permission, "removals": removals}[sys.argv[1]](*sys.argv[2:])
done()
