import sys

from registry import *

SECRETS = {
    "admin": ["pull,push,delete,admin **"],
    "ci": ["pull,push main/**"],
    "reader": ["pull main/**"],
    "pusher": ["push drop/*"],
    "janitor": ["pull **", "delete pr/**"],
    "narrow": ["pull,delete pr/one", "delete star/*"],
}


def tokens():
    for name, grants in SECRETS.items():
        for grant in grants:
            print(name, grant, sha256(secret(name).encode()))


def secret(name):
    return "secret-of-" + name


if sys.argv[1] == "tokens":
    tokens()
    sys.exit(0)

URL = sys.argv[1]
nobody = Registry(URL)
admin, ci, reader, pusher, janitor, narrow = (
    Registry(URL, secret(n)) for n in SECRETS)


def anonymous():
    for path in ("/v2/", "/v2/main/a/tags/list", "/v2/_cachemount/ext/v1",
                 "/api/v1/stats", "/api/v1/tags", "/api/v1/repositories"):
        a = nobody.get(path)
        equal(f"anonymous {path}", 401, a.status)
        check(f"anonymous {path}: challenged", a["WWW-Authenticate"], a)
    equal("anonymous: code", "UNAUTHORIZED", nobody.get("/v2/").error())
    for name in ("reader", "pusher", "narrow"):
        equal(f"{name}: ping", 200,
              Registry(URL, secret(name)).get("/v2/").status)
    equal("a wrong secret", 401, Registry(URL, "no").get("/v2/").status)


def permissions():
    body = ci.push_image("main/app", "v1", "app")
    path = "/v2/main/app/manifests/v1"
    equal("reader pulls", body, reader.get(path).body)
    a = reader.request("POST", "/v2/main/app/blobs/uploads/")
    equal("reader does not push", (403, "DENIED"), (a.status, a.error()))
    equal("ci does not push elsewhere", 403, ci.request(
        "POST", "/v2/other/app/blobs/uploads/").status)
    equal("push does not imply delete", 403, ci.delete(path).status)
    digest = pusher.push_blob("drop/box", b"dropped")
    equal("push does not imply pull", 403,
          pusher.get(f"/v2/drop/box/blobs/{digest}").status)
    equal("admin pulls it", b"dropped",
          admin.get(f"/v2/drop/box/blobs/{digest}").body)
    equal("a session of another's repository", 403,
          pusher.get(ci.begin("main/app")).status)


def visibility():
    """Knowing a digest opens nothing."""
    digest = admin.push_blob("hidden/repo", b"hidden bytes")
    for _ in range(4):  # until the reply is kept ready
        equal("admin has it", b"hidden bytes",
              admin.get(f"/v2/hidden/repo/blobs/{digest}").body)
    equal("not through another repository", 404,
          ci.get(f"/v2/main/app/blobs/{digest}").status)
    equal("nor through its own", 403,
          ci.get(f"/v2/hidden/repo/blobs/{digest}").status)
    a = ci.request("POST", "/v2/main/app/blobs/uploads/"
                   f"?mount={digest}&from=hidden/repo")
    equal("mount from what one may not pull", 202, a.status)
    a = ci.request("POST", f"/v2/main/app/blobs/uploads/?mount={digest}")
    equal("mount from anywhere, that one may not pull", 202, a.status)
    a = ci.post_json("/v2/main/app/_cachemount/missing",
                     {"digests": [digest], "mount": True})
    equal("batch mount of it", {"missing": [digest]}, a.json())
    equal("still not there", 404,
          ci.get(f"/v2/main/app/blobs/{digest}").status)
    a = admin.request("POST", "/v2/main/app/blobs/uploads/"
                      f"?mount={digest}&from=hidden/repo")
    equal("admin mounts it", 201, a.status)
    equal("then it is there", 200,
          ci.get(f"/v2/main/app/blobs/{digest}").status)
    a = reader.post_json("/v2/main/app/_cachemount/missing",
                         {"digests": [sha256(b"dropped")], "mount": True})
    equal("a reader mounts nothing", {"missing": [sha256(b"dropped")]},
          a.json())


def listings():
    for name in ("pr/one", "pr/two", "main/b"):
        admin.push_image(name, "v1", name)
    got = reader.get("/api/v1/repositories").json()
    equal("reader lists", {"repositories": ["main/app", "main/b"]}, got)
    got = {t["repository"] for t in reader.get("/api/v1/tags").json()["tags"]}
    equal("reader lists tags", {"main/app", "main/b"}, got)
    writers = {t["repository"]: t["writer"]
               for t in admin.get("/api/v1/tags").json()["tags"]}
    equal("who wrote", ("ci", "admin"),
          (writers["main/app"], writers["pr/one"]))
    a = reader.get("/api/v1/tags?repository=pr/one")
    equal("not of one that one may not pull", (403, "denied"),
          (a.status, a.error()))
    equal("nor by prefix", {"tags": []},
          reader.get("/api/v1/tags?prefix=pr").json())
    equal("no cursor tells of the others", {"repositories": ["main/app"],
          "next": "main/app"}, reader.get("/api/v1/repositories?n=1").json())
    got = reader.get("/api/v1/repositories?n=2").json()
    check("nor the last page", got.get("next") in (None, "main/b"), got)


def purging():
    def purge(who, **f):
        return who.post_json("/api/v1/purge", dict(f, dry_run=True)).status

    equal("a repository", 200, purge(narrow, repository="pr/one"))
    equal("not the next one", 403, purge(narrow, repository="pr/two"))
    equal("not the prefix of one", 403, purge(narrow, prefix="pr/one"))
    equal("one star is no prefix", 403, purge(narrow, prefix="star"))
    equal("one star, a repository", 200, purge(narrow, repository="star/x"))
    equal("a prefix", 200, purge(janitor, prefix="pr"))
    equal("a prefix beneath", 200, purge(janitor, prefix="pr/two"))
    equal("not beside it", 403, purge(janitor, prefix="pr-2"))
    equal("not above", 403, purge(janitor, older_than="1d"))
    equal("not all", 403, purge(janitor, all=True))
    equal("push is not enough", 403, purge(ci, repository="main/app"))
    equal("admin: all", 200, purge(admin, all=True))
    equal("anonymous", 401, purge(nobody, all=True))
    a = janitor.post_json("/api/v1/purge", {"prefix": "pr", "writer": "ci"})
    equal("by writer: none", 0, a.json()["tags"])
    a = janitor.post_json("/api/v1/purge", {"prefix": "pr",
                                            "writer": "admin"})
    equal("by writer", 2, a.json()["tags"])
    equal("gone", 404, admin.get("/v2/pr/one/manifests/v1").status)


def verifying():
    question = {"repository": "main/app", "tag": "v1"}
    equal("verify needs push", 403,
          reader.post_json("/api/v1/verify", question).status)
    equal("verify", 200, ci.post_json("/api/v1/verify", question).status)


anonymous()
permissions()
visibility()
listings()
purging()
verifying()
done()
