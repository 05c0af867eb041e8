#!/usr/bin/env bash
# Goal: the conformance suite of the distribution-spec, whole, finds nothing wrong
# with the server: neither by 1.1 nor by the development head.
# Timeout: 900
# Quick: no
. "$(dirname "$0")/../lib.sh"

# What is fetched, by the Go toolchain's own means: the suite has no releases of
# its own, so this is a commit. Nothing else says which.
SUITE=github.com/opencontainers/distribution-spec/conformance
VERSION=v0.0.0-20260831232431-97274622c111

# Fewer tests than this can't be all of them.
TESTS_MIN=800

# build_suite TARGET: fetches and builds it, in folders that go with this run.
build_suite()
{
	GOBIN=$WORK/bin GOMODCACHE=$WORK/go GOCACHE=$WORK/go-build \
		GOTOOLCHAIN=local GOFLAGS='-modcacherw -buildvcs=false' \
		timeout 600 go install "$SUITE@$VERSION" >"$WORK/build.log" 2>&1 ||
		return 1
	mkdir -p "$(dirname "$1")"
	cp "$WORK/bin/conformance" "$1.$$"
	mv "$1.$$" "$1"
}

# figure NAME: a number of the report's first element, which leaves out zeroes.
figure()
{
	local value
	value=$(sed -n "s/^<testsuites .* $1=\"\([0-9]*\)\".*/\1/p" \
		"$results/junit.xml" | head -n 1)
	printf '%s\n' "${value:-0}"
}

# run_suite VERSION: against the daemon, in repositories of its own.
run_suite()
{
	local version=$1 status=0 results=$WORK/results-$1
	local tests failures errors skipped disabled
	(cd "$WORK" && OCI_REGISTRY=$HOSTPORT OCI_TLS=disabled \
		OCI_VERSION=$version OCI_RESULTS_DIR=$results \
		OCI_REPO1=conformance-$version/one \
		OCI_REPO2=conformance-$version/two \
		timeout 240 "$suite" >"$WORK/suite-$version.log" 2>&1) || status=$?
	[[ -s $results/junit.xml ]] || {
		not_ok "$version: a report" "status $status" \
			"$(tail -n 20 "$WORK/suite-$version.log")"
		return 0
	}
	tests=$(figure tests) failures=$(figure failures)
	errors=$(figure errors) skipped=$(figure skipped)
	disabled=$(figure disabled)
	say "conformance $version: $tests tests, $failures failures," \
		"$errors errors, $skipped skipped, $disabled disabled"
	if ((status == 0 && failures == 0 && errors == 0)); then
		ok "conformance $version: $tests tests, none failed"
	else
		not_ok "conformance $version" "status $status" \
			"$(tail -n 120 "$WORK/suite-$version.log")"
	fi
	check "conformance $version: at least $TESTS_MIN tests" \
		test "$tests" -ge "$TESTS_MIN"
	check_eq "conformance $version: none skipped" 0 "$skipped"
}

suite=$CM_CACHE/conformance/$VERSION
if [[ ! -x $suite ]]; then
	need go
	build_suite "$suite" || skip "the conformance suite can't be had:" \
		"$(tail -n 1 "$WORK/build.log")"
fi
start_daemon
run_suite 1.1
run_suite dev
