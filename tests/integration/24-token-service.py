"""The token endpoint and what its tokens open: the checks of
24-token-service.sh, by bare requests.

Usage: 24-token-service.py URL SECRET KEYFILE first|again|closed
"""
import base64
import calendar
import hashlib
import hmac
import re
import sys
import time
from urllib.parse import urlencode

from registry import *

URL, SECRET, KEY_FILE, PART = sys.argv[1:]
BASIC = "Basic " + base64.b64encode(b"ci:" + SECRET.encode()).decode()
PULL_PUSH = "repository:main/app:pull,push"
TOKENS = "/v2/token"
r = Registry(URL)


def ask(path, credentials=None, method="GET"):
    headers = {"Authorization": credentials} if credentials else {}
    return r.request(method, path, headers=headers)


def fetch(scope=None, credentials=None, **more):
    query = dict(more, service="cachemount")
    if scope:
        query["scope"] = scope
    return ask(f"{TOKENS}?{urlencode(query, doseq=True)}", credentials)


def bearer(answer):
    return "Bearer " + answer.json()["token"]


def post(**form):
    return r.request("POST", TOKENS, urlencode(form, doseq=True).encode(),
                     {"Content-Type": "application/x-www-form-urlencoded"})


def challenge(answer):
    """The parameters of a Bearer challenge; None for another."""
    text = answer["WWW-Authenticate"] or ""
    if not text.startswith("Bearer "):
        return None
    return dict(re.findall(r'(\w+)="([^"]*)"', text))


def begin(repository, credentials):
    return ask(f"/v2/{repository}/blobs/uploads/", credentials, "POST")


def mint(scopes, expires, name=b"", key=None):
    """A token as the server makes it, for the anonymous."""
    payload = b"\1" + int(expires).to_bytes(8, "big") + bytes([len(name)])
    payload += name + (b"12345678" if name else b"")
    for actions, repository in scopes:
        payload += bytes([actions, len(repository)]) + repository
    with open(KEY_FILE, "rb") as f:
        key = key or f.read()
    payload += hmac.new(key, payload, hashlib.sha256).digest()
    return "Bearer cma_" + base64.b64encode(payload).decode()


def the_ping():
    a = ask("/v2/")
    equal("ping: challenged", 401, a.status)
    equal("ping: as the spec says it", "UNAUTHORIZED", a.error())
    got = challenge(a) or {}
    equal("ping: the realm", f"{URL}{TOKENS}", got.get("realm"))
    equal("ping: no error", None, got.get("error"))
    equal("ping: not to be stored", "no-store", a["Cache-Control"])
    equal("ping: with Basic", 200, ask("/v2/", BASIC).status)
    equal("ping: with an access token", 200,
          ask("/v2/", bearer(fetch())).status)
    equal("ping: with credentials that are none", 401,
          ask("/v2/", "Basic Og==").status)
    equal("HEAD", 401, ask("/v2/", None, "HEAD").status)


def anonymous():
    body = Registry(URL, SECRET).push_image("main/app", "v0", "seed")
    path = "/v2/main/app/manifests/v0"
    equal("without anything: pull", body, ask(path).body)
    a = begin("main/app", None)
    equal("without anything: no push", 401, a.status)
    equal("and it is told what it would need", PULL_PUSH,
          (challenge(a) or {}).get("scope"))
    a = fetch(PULL_PUSH)
    equal("a token for nobody", 200, a.status)
    equal("not to be stored", "no-store", a["Cache-Control"])
    answer = a.json()
    equal("under both names", answer["token"], answer["access_token"])
    check("it lives for minutes", 60 <= answer["expires_in"] <= 900, answer)
    since = calendar.timegm(time.strptime(answer["issued_at"],
                                          "%Y-%m-%dT%H:%M:%SZ"))
    check("says since when", abs(since - time.time()) < 60, answer)
    token = bearer(a)
    equal("it pulls", body, ask(path, token).body)
    a = begin("main/app", token)
    equal("it does not push", (401, "UNAUTHORIZED"), (a.status, a.error()))
    got = challenge(a) or {}
    equal("for want of scope", "insufficient_scope", got.get("error"))
    equal("which is told", PULL_PUSH, got.get("scope"))
    other = fetch("repository:main/other:pull").json()["token"]
    a = ask(path, "Bearer " + other)
    equal("nor pulls what it is not for",
          (401, "insufficient_scope"),
          (a.status, (challenge(a) or {}).get("error")))
    a = fetch(["repository:a:pull", "repository:main/app:pull"])
    equal("several scopes", body, ask(path, bearer(a)).body)


def named():
    token = bearer(fetch(PULL_PUSH, BASIC))
    equal("ci's token pushes", 202, begin("main/app", token).status)
    a = ask("/v2/main/app/manifests/v0", token, "DELETE")
    equal("does not delete, as ci may not", (403, "DENIED"),
          (a.status, a.error()))
    a = begin("main/two", token)
    equal("not elsewhere, though ci may",
          (401, "insufficient_scope"),
          (a.status, (challenge(a) or {}).get("error")))
    a = begin("other/app", token)
    equal("not where ci may not", (403, "DENIED"), (a.status, a.error()))
    a = ask("/api/v1/tags", token)
    equal("nor the administration", 401, a.status)
    a = ask(f"{TOKENS}?scope=repository:main/two:push", token)
    equal("it buys no other token", 401, a.status)
    a = fetch("repository:other/app:pull,push", BASIC)
    token = bearer(a)
    equal("a scope that ci has not is left out", 403,
          begin("other/app", token).status)
    a = fetch(PULL_PUSH, "Basic " + base64.b64encode(b"ci:no").decode())
    equal("wrong credentials get no token", (401, "UNAUTHORIZED"),
          (a.status, a.error()))
    check("and are asked for Basic",
          (a["WWW-Authenticate"] or "").startswith("Basic "), a)
    equal("a secret as Bearer does", 200,
          fetch(PULL_PUSH, "Bearer " + SECRET).status)
    equal("a token as Basic's password does not", 401, ask(
        "/v2/", "Basic " + base64.b64encode(
            b"x:" + token[7:].encode()).decode()).status)
    a = begin("main/app?from=other/x&mount=" + sha256(b""), token)
    equal("odd paths are refused as ever", True, a.status in (400, 401, 403,
                                                              404, 405))


def oauth():
    form = {"service": "cachemount", "client_id": "test", "scope": PULL_PUSH}
    a = post(grant_type="password", username="ci", password=SECRET, **form)
    equal("OAuth by password", 200, a.status)
    answer = a.json()
    equal("tells its scope", PULL_PUSH, answer["scope"])
    check("no refresh token unasked", "refresh_token" not in answer, answer)
    equal("it pushes", 202,
          begin("main/app", "Bearer " + answer["access_token"]).status)
    answer = post(grant_type="password", username="ci", password=SECRET,
                  access_type="offline", **form).json()
    a = post(grant_type="refresh_token",
             refresh_token=answer["refresh_token"], **form)
    equal("by a refresh token", 200, a.status)
    for name, wanted, more in (
            ("a wrong password", 401, {"grant_type": "password",
                                       "password": "no"}),
            ("a wrong refresh token", 401, {"grant_type": "refresh_token",
                                            "refresh_token": "cmt_no"}),
            ("an access token as one", 401,
             {"grant_type": "refresh_token",
              "refresh_token": answer["access_token"]}),
            ("no grant", 400, {}),
            ("another grant", 400, {"grant_type": "client_credentials"}),
            ("no password", 400, {"grant_type": "password"})):
        equal(f"OAuth: {name}", wanted, post(**form, **more).status)
    for name, body in (("NUL", b"grant_type=\0"), ("bad escape", b"a=%zz"),
                       ("nothing", b"")):
        equal(f"OAuth: {name}", 400,
              r.request("POST", TOKENS, body).status)
    equal("OAuth: too long", 413,
          r.request("POST", TOKENS, b"a" * 20000).status)
    equal("many scopes", 400, fetch(
        " ".join(f"repository:r{i}:pull" for i in range(40))).status)
    equal("an unknown kind", 200, fetch("registry:catalog:*").status)


def forgeries():
    path = "/v2/main/app/manifests/v0"
    now = time.time()
    good = [(1, b"main/app")]
    equal("(a token made here is one)", 200,
          ask(path, mint(good, now + 100)).status)
    for name, token in {
            "expired": mint(good, now - 1),
            "of a far future": mint(good, now + 86400),
            "of another key": mint(good, now + 100, key=b"k" * 32),
            "of a holder there is not": mint(good, now + 100, b"root"),
            "that claims ci": mint([(3, b"main/app")], now + 100, b"ci"),
            "with admin in it": mint([(9, b"main/app")], now + 100),
            "with an odd name": mint([(1, b"../app")], now + 100),
            "cut": mint(good, now + 100)[:-5],
            "empty": "Bearer cma_",
            "long": "Bearer cma_" + "A" * 3000,
            "longer": "Bearer cma_" + "A" * 9000,
            "no Base64": "Bearer cma_" + "%" * 40}.items():
        a = ask(path, token)
        equal(f"a token {name}", (401, "UNAUTHORIZED", "invalid_token"),
              (a.status, a.error(), (challenge(a) or {}).get("error")))
    a = ask(path, "Bearer unknown-secret")
    equal("an unknown secret", (401, "invalid_token"),
          (a.status, (challenge(a) or {}).get("error")))


def restarted():
    path = "/v2/main/app/manifests/v0"
    equal("a token of before the restart holds", 200,
          ask(path, mint([(1, b"main/app")], time.time() + 100)).status)


def closed():
    equal("no token for nobody", 401, fetch(PULL_PUSH).status)
    token = bearer(fetch(PULL_PUSH, BASIC))
    equal("ci has one", 202, begin("main/app", token).status)
    equal("nobody's token of an open time opens nothing", 401, ask(
        "/v2/main/app/manifests/v0",
        mint([(1, b"main/app")], time.time() + 100)).status)


if PART == "first":
    the_ping()
    anonymous()
    named()
    oauth()
    forgeries()
elif PART == "again":
    restarted()
else:
    closed()
done()
