#!/usr/bin/env bash
# Goal: the conformance suite of the distribution-spec, whole, finds nothing wrong
# with the server: neither by 1.1 nor by the development head, nor where it has
# to say who it is.
# Timeout: 600
# Quick: no
# Tools: conformance
. "$(dirname "$0")/../lib.sh"

# Fewer tests than this can't be all of them.
TESTS_MIN=800

# figure NAME: a number of the report's first element, which leaves out zeroes.
figure()
{
	local value
	value=$(sed -n "s/^<testsuites .* $1=\"\([0-9]*\)\".*/\1/p" \
		"$results/junit.xml" | head -n 1)
	printf '%s\n' "${value:-0}"
}

# run_suite NAME VERSION [USER PASSWORD]: against the daemon, in repositories of
# its own.
run_suite()
{
	local name=$1 status=0 results=$WORK/results-$1 log=$WORK/suite-$1.log
	local tests failures errors skipped disabled
	(cd "$WORK" && OCI_REGISTRY=$HOSTPORT OCI_TLS=disabled \
		OCI_VERSION=$2 OCI_RESULTS_DIR=$results \
		OCI_REPO1=conformance-$name/one \
		OCI_REPO2=conformance-$name/two \
		OCI_USERNAME=${3:-} OCI_PASSWORD=${4:-} \
		timeout 240 "$suite" >"$log" 2>&1) || status=$?
	[[ -s $results/junit.xml ]] || {
		not_ok "conformance $name: a report" "status $status" \
			"$(tail -n 20 "$log")"
		return 0
	}
	tests=$(figure tests) failures=$(figure failures)
	errors=$(figure errors) skipped=$(figure skipped)
	disabled=$(figure disabled)
	say "conformance $name: $tests tests, $failures failures," \
		"$errors errors, $skipped skipped, $disabled disabled"
	if ((status == 0 && failures == 0 && errors == 0)); then
		ok "conformance $name: $tests tests, none failed"
	else
		not_ok "conformance $name" "status $status" \
			"$(tail -n 120 "$log")"
	fi
	check "conformance $name: at least $TESTS_MIN tests" \
		test "$tests" -ge "$TESTS_MIN"
	check_eq "conformance $name: none skipped" 0 "$skipped"
}

suite=$("$CM_TOP/deploy/go-tools" conformance)/conformance ||
	skip "the conformance suite can't be had"
start_daemon
run_suite 1.1 1.1
run_suite dev dev
stop_daemon
secret=$("$CACHEMOUNTD" --new-token suite --permissions pull,push,delete \
	--token-file "$WORK/tokens")
start_daemon --token-file "$WORK/tokens"
run_suite token dev suite "$secret"
