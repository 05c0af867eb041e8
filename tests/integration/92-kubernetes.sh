#!/usr/bin/env bash
# Goal: a real API server takes the manifests of deploy/kubernetes, by the
# commands of the README there and with unknown fields refused, and admits the
# pod that the StatefulSet makes into a namespace that enforces Pod Security
# "restricted". Without any one of its restrictions it is refused, so "admitted"
# means something.
#
# kube-apiserver and kubectl are built with Go once, and kept in .cache/; that
# takes many minutes. Nothing runs the pod here: 91-container.sh runs the image.
# Timeout: 3000
# Quick: no
. "$(dirname "$0")/../lib.sh"

VERSION=1.34.3
PROGRAMS=$CM_CACHE/kubernetes-$VERSION

need go
(need_packages kubernetes) || skip "etcd cannot be installed here"

# --- programs ---

# module: a go.mod that pins what Kubernetes has in its own tree.
module()
{
	local theirs name
	printf 'module cachemount.test/kubernetes\n\ngo 1.24\n\n'
	printf 'require k8s.io/kubernetes v%s\n' "$VERSION"
	theirs=$(go mod download -json "k8s.io/kubernetes@v$VERSION" |
		jq -r .GoMod)
	sed -n 's/^[[:space:]]*\(k8s\.io\/[a-z-]*\) v0\.0\.0$/\1/p' "$theirs" |
		while read -r name; do
			printf 'replace %s => %s v0.%s\n' "$name" "$name" \
				"${VERSION#1.}"
		done
}

# build_programs: from nothing, in the folder it is called in.
build_programs()
{
	module >go.mod
	GOFLAGS=-mod=mod go build -trimpath -ldflags='-s -w' -o "$1/" \
		k8s.io/kubernetes/cmd/kube-apiserver \
		k8s.io/kubernetes/cmd/kubectl
}

mkdir -p "$CM_CACHE"
exec 9>"$PROGRAMS.lock"
flock -w 2400 9 || skip "another run holds $PROGRAMS.lock"
if [[ ! -x $PROGRAMS/kubectl ]]; then
	mkdir -p "$WORK/module" "$WORK/programs"
	(cd "$WORK/module" && build_programs "$WORK/programs") \
		>"$WORK/go.log" 2>&1 || {
		tail -n 20 "$WORK/go.log"
		skip "kube-apiserver does not build here:" \
			"$(tail -n 1 "$WORK/go.log")"
	}
	rm -rf -- "$PROGRAMS"
	mv -- "$WORK/programs" "$PROGRAMS"
fi
exec 9>&-

# --- a control plane without a node ---

# background NAME COMMAND…: until the script ends; its log is $WORK/NAME.log.
background()
{
	local name=$1
	shift
	"$@" >"$WORK/$name.log" 2>&1 </dev/null &
	on_exit _stop_quietly $!
}

etcd=http://127.0.0.1:$(free_port)
peers=http://127.0.0.1:$(free_port)
port=$(free_port)
openssl genrsa -out "$WORK/key.pem" 2048 2>/dev/null
printf 'operator,operator,operator,system:masters\n' >"$WORK/tokens.csv"
background etcd etcd --data-dir "$WORK/etcd" --unsafe-no-fsync \
	--listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
	--listen-peer-urls "$peers"
background apiserver "$PROGRAMS/kube-apiserver" --etcd-servers "$etcd" \
	--bind-address 127.0.0.1 --secure-port "$port" --allow-privileged \
	--cert-dir "$WORK/certificates" --authorization-mode RBAC \
	--token-auth-file "$WORK/tokens.csv" \
	--service-cluster-ip-range 10.0.0.0/24 \
	--service-account-issuer https://kubernetes.default.svc \
	--service-account-key-file "$WORK/key.pem" \
	--service-account-signing-key-file "$WORK/key.pem"

# kubectl ARGUMENT…: as the operator.
kubectl()
{
	HOME=$WORK "$PROGRAMS/kubectl" --server "https://127.0.0.1:$port" \
		--insecure-skip-tls-verify --token operator \
		--request-timeout 60s "$@"
}

# ready: whether the API server is.
ready()
{
	kubectl get --raw /readyz >/dev/null 2>&1
}

retry_until 90 ready || {
	tail -n 20 "$WORK/etcd.log" "$WORK/apiserver.log"
	not_ok "the API server starts"
	exit 1
}
check_eq "a real API server" "${VERSION%.*}" "$(kubectl get --raw /version |
	jq -r '"\(.major).\(.minor)"')"

# --- the README's commands ---

"$CACHEMOUNTD" --new-token ci --token-file "$WORK/tokens" >/dev/null
check "namespace" kubectl create namespace cachemount
check "that enforces what it should" kubectl label namespace cachemount \
	pod-security.kubernetes.io/enforce=restricted \
	pod-security.kubernetes.io/warn=restricted
check "secret" kubectl --namespace cachemount create secret generic \
	cachemount-tokens --from-file "tokens=$WORK/tokens"
# The README's overlay, with the paths and names that it leaves open.
mkdir "$WORK/overlay"
sed -n '/^   ```yaml$/,/^   ```$/{/```/d;s/^   //p}' \
	"$CM_TOP/deploy/kubernetes/README.md" |
	sed -e "s|PATH/TO/cachemount|$(realpath \
		--relative-to "$WORK/overlay" "$CM_TOP")|" \
		-e 's|REGISTRY|registry.example|' \
		>"$WORK/overlay/kustomization.yaml"
kubectl apply --validate=strict --dry-run=server -k "$WORK/overlay" \
	--output json >"$WORK/overlay.json" 2>"$WORK/overlay.log" &&
	ok "an overlay" || not_ok "an overlay" "$(<"$WORK/overlay.log")"
check_eq "its image and its namespace" \
	"cachemount registry.example/cachemount:0.1.0" \
	"$(jq -r '.items[] | select(.kind == "StatefulSet")
		| "\(.metadata.namespace) " +
		.spec.template.spec.containers[0].image' "$WORK/overlay.json")"
kubectl kustomize "$WORK/overlay" >"$WORK/overlay.yaml"
check "its storage" grep -q 'storage: 200Gi' "$WORK/overlay.yaml"

kubectl --namespace cachemount apply --validate=strict \
	-k "$CM_TOP/deploy/kubernetes" >"$WORK/applied" 2>&1 &&
	ok "manifests" || not_ok "manifests" "$(<"$WORK/applied")"
check_eq "without a warning" "" "$(grep -i warning "$WORK/applied" || true)"
check "and again" kubectl --namespace cachemount apply --validate=strict \
	-k "$CM_TOP/deploy/kubernetes"

# field PATH: of the StatefulSet as the API server has it.
kubectl --namespace cachemount get statefulset cachemount -o json \
	>"$WORK/stateful.json"
field()
{
	jq -r "$1" "$WORK/stateful.json"
}

check_eq "the volume is kept" "Retain Retain" \
	"$(field '.spec.persistentVolumeClaimRetentionPolicy |
		"\(.whenDeleted) \(.whenScaled)"')"
check_eq "the image has a version" cachemount:0.1.0 \
	"$(field '.spec.template.spec.containers[0].image')"
check "the settings it names are there" kubectl --namespace cachemount \
	get configmap "$(field '.spec.template.spec.volumes[]
		| select(.name == "settings").configMap.name')"
check "so is the secret" kubectl --namespace cachemount get secret \
	"$(field '.spec.template.spec.volumes[]
		| select(.name == "tokens").secret.secretName')"

# --- the pod ---

# A controller would make these two.
kubectl --namespace cachemount create serviceaccount default >/dev/null
jq '.spec.volumeClaimTemplates[0] | .apiVersion = "v1"
	| .kind = "PersistentVolumeClaim" | .metadata.name = "data-cachemount-0"
	| del(.status)' "$WORK/stateful.json" >"$WORK/claim.json"
check "its claim" kubectl --namespace cachemount apply -f "$WORK/claim.json"
jq '.spec.template | .apiVersion = "v1" | .kind = "Pod"
	| .metadata.name = "cachemount-0"
	| .spec.volumes += [{name: "data", persistentVolumeClaim:
		{claimName: "data-cachemount-0"}}]' \
	"$WORK/stateful.json" >"$WORK/pod.json"

# admit FILTER: the pod, changed so, tried without being made.
admit()
{
	jq "$1" "$WORK/pod.json" | kubectl --namespace cachemount \
		apply --validate=strict --dry-run=server -f - 2>&1
}

# refused NAME FILTER: whether Pod Security refuses the pod that is changed so.
refused()
{
	local out
	if out=$(admit "$2"); then
		not_ok "refused: $1" "admitted: $out"
	else
		check_match "refused: $1" 'violates PodSecurity "restricted' \
			"$out"
	fi
}

check "the pod is admitted" admit .
check_eq "no API token is put into it" 0 "$(jq '.spec.volumes
	| map(select(.projected)) | length' <<<"$(jq . "$WORK/pod.json" |
	kubectl --namespace cachemount apply --dry-run=server -o json -f -)")"
refused "privileged" '.spec.containers[0].securityContext.privileged = true
	| .spec.containers[0].securityContext.allowPrivilegeEscalation = true'
refused "capabilities" 'del(.spec.containers[0].securityContext.capabilities)'
refused "escalation" \
	'del(.spec.containers[0].securityContext.allowPrivilegeEscalation)'
refused "root" 'del(.spec.securityContext.runAsNonRoot)'
refused "user 0" '.spec.securityContext.runAsUser = 0'
refused "no seccomp" 'del(.spec.securityContext.seccompProfile)'
refused "a folder of the host" '.spec.volumes += [{name: "host",
	hostPath: {path: "/"}}]'
out=$(admit '.spec.containers[0].readOnlyRootFileSystem = true') &&
	not_ok "a field that does not exist is refused" "$out"
check_match "a field that does not exist is refused" 'unknown field' "$out"
