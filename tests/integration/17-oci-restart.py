import sys
from pathlib import Path

from registry import *

r = Registry(sys.argv[1])
SESSION = Path(sys.argv[3])
DATA = noise(3000000, b"restart")
TEXT = b"text to be sent encoded, before\n" * 20000


def before():
    r.push_image("re/start", "v1", "restart")
    r.push_image("re/start", "gone", "restart")
    r.delete("/v2/re/start/manifests/gone")
    plain, coded = r.begin("re/start"), r.begin("re/start")
    a = r.request("PATCH", plain, DATA[:2000000])
    b = r.request("PATCH", coded, zstd(TEXT), {"Content-Encoding": "zstd"})
    equal("before: two sessions", (202, 202), (a.status, b.status))
    SESSION.write_text(plain + "\n" + coded)


def after():
    plain, coded = SESSION.read_text().split()
    image_now = r.get("/v2/re/start/manifests/v1")
    equal("after: the tag", 200, image_now.status)
    value = image_now.json()
    for d in [value["config"]] + value["layers"]:
        blob = r.get(f"/v2/re/start/blobs/{d['digest']}")
        check("after: its blobs", sha256(blob.body) == d["digest"], blob)
    equal("after: a deleted tag", 404,
          r.get("/v2/re/start/manifests/gone").status)
    a = r.get(plain)
    equal("after: the session", (204, "0-1999999"), (a.status, a["Range"]))
    a = r.request("PUT", plain + "?digest=" + sha256(DATA), DATA[2000000:],
                  {"Content-Range": "2000000-2999999"})
    equal("after: it goes on", 201, a.status)
    check("after: every byte",
          r.get(f"/v2/re/start/blobs/{sha256(DATA)}").body == DATA)
    a = r.request("PUT", coded + "?digest=" + sha256(TEXT), b"")
    equal("after: the encoded session ends", 201, a.status)
    check("after: decoded",
          r.get(f"/v2/re/start/blobs/{sha256(TEXT)}").body == TEXT)


{"before": before, "after": after}[sys.argv[2]]()
done()
