"""The files of deploy/ as data: the cases of 81-deploy-files.sh.

Usage: 81-deploy-files.py SOURCE-TREE
"""
import json
import pathlib
import re
import sys

import yaml

TOP = pathlib.Path(sys.argv[1])
DEPLOY = TOP / "deploy"
failed = 0


def check(name, good, why=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {name}", flush=True)
    if not good:
        print(f"  # {why}")


def same(name, wanted, got):
    check(name, wanted == got, f"wanted {wanted!r}, got {got!r}")


def seconds(text):
    """Of "45s" or "1m30s"."""
    parts = re.findall(r"(\d+)(s|m|h)", text)
    return sum(int(n) * {"s": 1, "m": 60, "h": 3600}[u] for n, u in parts)


def settings(path):
    """A file of cachemountd's --config."""
    lines = [line.split("#")[0].strip() for line in path.read_text().split("\n")]
    return dict(re.split(r"\s*=\s*", line, maxsplit=1) for line in lines if line)


def instructions(path):
    """The Dockerfile as (word, rest), lines that go on put together."""
    text = re.sub(r"(?m)^\s*#.*\n", "", path.read_text())
    text = re.sub(r"\\\n\s*", " ", text)
    return [tuple(line.split(None, 1)) for line in text.split("\n") if line.strip()]


def last(words, name):
    found = [rest for word, rest in words if word == name]
    return found[-1] if found else ""


VERSION = re.search(r"version: '([^']+)'", (TOP / "meson.build").read_text())[1]
SERVER_LIMIT = int(
    re.search(
        r"#define TIMEOUT_S (\d+)", (TOP / "server/healthcheck.c").read_text()
    )[1]
)
CLOSING = 10  # seconds that the server takes at most, once it has drained


# --- the image ---

dockerfile = instructions(DEPLOY / "Dockerfile")
froms = [i for i, (word, _) in enumerate(dockerfile) if word == "FROM"]
final = dockerfile[froms[-1] :]
image_conf = settings(DEPLOY / "image/cachemountd.conf")
user = last(final, "USER")
port = last(final, "EXPOSE")

check("image: several stages", len(froms) > 1)
check(
    "image: each stage is of the base that is asked for, or of nothing",
    all(re.match(r"(\$\{BASE\}|scratch)(\s|$)", dockerfile[i][1]) for i in froms),
)
check("image: numeric user, not root", re.fullmatch(r"[1-9]\d+:[1-9]\d+", user), user)
same("image: its data is a volume", image_conf["data"], last(final, "VOLUME"))
same("image: the port is the one it listens on", image_conf["listen"], ":" + port)
same("image: signal", "SIGTERM", last(final, "STOPSIGNAL"))
same(
    "image: the server is process 1, without a shell",
    ["/usr/bin/cachemountd"],
    json.loads(last(final, "ENTRYPOINT")),
)
health, _, command = last(final, "HEALTHCHECK").partition(" CMD ")
same(
    "image: health check",
    ["/usr/bin/cachemountd", "--healthcheck"],
    json.loads(command),
)
check(
    "image: the health check has time to fail by itself",
    seconds(re.search(r"--timeout=(\S+)", health)[1]) > SERVER_LIMIT,
    health,
)
check(
    "image: no compiler in the last stage",
    not any("build" in rest or "gcc" in rest for word, rest in final if word == "RUN"),
)
check(
    "image: only built files are copied into it",
    all(rest.startswith("--from=build ") for word, rest in final if word == "COPY"),
)
check("image: version", ("ARG", f"VERSION={VERSION}") in final)
ignored = (TOP / ".dockerignore").read_text().split("\n")
rules = [line for line in ignored if line and not line.startswith("#")]
same("context: nothing but what is named", "*", rules[0])
check(
    "context: all that is named is there",
    all(rule[0] == "!" and (TOP / rule[1:]).exists() for rule in rules[1:]),
    rules,
)
check(
    "context: no history, no builds, no tests",
    not {"!.git", "!build", "!tests", "!.cache"} & set(rules),
)

# --- compose ---

compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
service = compose["services"]["cachemountd"]
check("compose: read-only root", service["read_only"] is True)
same("compose: no capabilities", ["ALL"], service["cap_drop"])
same("compose: no new privileges", ["no-new-privileges:true"], service["security_opt"])
check("compose: no capability added", "cap_add" not in service)
check("compose: not privileged", not service.get("privileged"))
same(
    "compose: the volume is the image's",
    ["data:" + last(final, "VOLUME")],
    service["volumes"],
)
same(
    "compose: health check",
    ["CMD", "/usr/bin/cachemountd", "--healthcheck"],
    service["healthcheck"]["test"],
)
check(
    "compose: the health check has time to fail by itself",
    seconds(service["healthcheck"]["timeout"]) > SERVER_LIMIT,
)
name = service["secrets"][0]
same(
    "compose: the token file is a secret",
    "/run/secrets/" + name,
    service["environment"]["CACHEMOUNT_TOKEN_FILE"],
)
check("compose: that comes from a file", "file" in compose["secrets"][name])
check("compose: limits", service["mem_limit"] and service["pids_limit"])
check(
    "compose: not for the network unless told",
    ":-127.0.0.1:" in service["ports"][0],
)
check("compose: the port", service["ports"][0].endswith(":" + port))

# --- Kubernetes ---

KUBERNETES = DEPLOY / "kubernetes"
kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
objects = {}
for file in kustomization["resources"]:
    for o in yaml.safe_load_all((KUBERNETES / file).read_text()):
        objects[o["kind"]] = o
conf = settings(KUBERNETES / "cachemountd.conf")
stateful = objects["StatefulSet"]["spec"]
pod = stateful["template"]["spec"]
container = pod["containers"][0]
uid, gid = map(int, user.split(":"))

same("kubernetes: the objects", {"Service", "StatefulSet"}, set(objects))
same("kubernetes: version", VERSION, kustomization["images"][0]["newTag"])
same("kubernetes: one replica", 1, stateful["replicas"])
same(
    "kubernetes: the volume is kept",
    {"whenDeleted": "Retain", "whenScaled": "Retain"},
    stateful["persistentVolumeClaimRetentionPolicy"],
)
same(
    "kubernetes: the pod's security",
    {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": gid,
        "fsGroup": gid,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    pod["securityContext"],
)
same(
    "kubernetes: the container's security",
    {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    container["securityContext"],
)
same("kubernetes: one container", 1, len(pod["containers"]))
same("kubernetes: no API token", False, pod["automountServiceAccountToken"])
same("kubernetes: no service variables", False, pod["enableServiceLinks"])
check(
    "kubernetes: nothing of the host",
    not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    and not any("hostPath" in v for v in pod["volumes"]),
)
check(
    "kubernetes: time to drain and close",
    pod["terminationGracePeriodSeconds"] > seconds(conf["drain-timeout"]) + CLOSING,
)
check(
    "compose: time to drain and close",
    seconds(service["stop_grace_period"]) > seconds(conf["drain-timeout"]) + CLOSING,
)
probes = {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
for probe, path in probes.items():
    same(
        f"kubernetes: {probe} probe",
        {"path": path, "port": "http"},
        container[probe + "Probe"]["httpGet"],
    )
same(
    "kubernetes: the port",
    [{"name": "http", "containerPort": int(port)}],
    container["ports"],
)
same("kubernetes: it listens there", ":" + port, conf["listen"])
service = objects["Service"]
same(
    "kubernetes: the service's port",
    "http",
    service["spec"]["ports"][0]["targetPort"],
)
same(
    "kubernetes: the service finds the pod",
    service["spec"]["selector"],
    stateful["template"]["metadata"]["labels"],
)
same(
    "kubernetes: the governing service",
    service["metadata"]["name"],
    stateful["serviceName"],
)
mounts = {m["name"]: m for m in container["volumeMounts"]}
same("kubernetes: the data", conf["data"], mounts["data"]["mountPath"])
same(
    "kubernetes: of a claim",
    ["data"],
    [c["metadata"]["name"] for c in stateful["volumeClaimTemplates"]],
)
check(
    "kubernetes: the token file is in the secret's folder",
    conf["token-file"].startswith(mounts["tokens"]["mountPath"] + "/"),
)
check("kubernetes: a change of it arrives", "subPath" not in mounts["tokens"])
volumes = {v["name"]: v for v in pod["volumes"]}
same(
    "kubernetes: which is named, and not here",
    "cachemount-tokens",
    volumes["tokens"]["secret"]["secretName"],
)
check(
    "kubernetes: no secret in any file",
    not any("kind: Secret" in f.read_text() for f in KUBERNETES.iterdir()),
)
same(
    "kubernetes: the settings are of the map that is made",
    kustomization["configMapGenerator"][0]["name"],
    volumes["settings"]["configMap"]["name"],
)
config_file = next(rest for word, rest in final if word == "ENV").partition("=")[2]
same(
    "kubernetes: they are where the image looks",
    str(pathlib.PurePath(config_file).parent),
    mounts["settings"]["mountPath"],
)
same(
    "kubernetes: under that name",
    [pathlib.PurePath(config_file).name],
    kustomization["configMapGenerator"][0]["files"],
)
check(
    "kubernetes: limits",
    container["resources"]["limits"]["memory"]
    and container["resources"]["requests"]["cpu"],
)
sys.exit(failed > 0)
