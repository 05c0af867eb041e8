"""What a driver proved, as lines "ok NAME" and "not ok NAME" on stdout."""

import sys

failures = 0


def ok(name):
    print(f"ok {name}", flush=True)


def not_ok(name, *why):
    global failures
    failures += 1
    print(f"not ok {name}")
    for line in "\n".join(str(w) for w in why).splitlines():
        print(f"  # {line}")
    sys.stdout.flush()


def check(name, truth, *why):
    if truth:
        ok(name)
    else:
        not_ok(name, *why)
    return bool(truth)


def check_eq(name, wanted, got, *why):
    return check(name, wanted == got, f"wanted: {wanted!r}", f"got:    {got!r}",
                 *why)


def skip_one(name, why):
    print(f"skip {name}: {why}", flush=True)


def note(text):
    """Told only when the script fails, like all else that is no result."""
    print(f"# {text}", flush=True)


def finish():
    """Exits with 1 if a check failed."""
    sys.exit(1 if failures else 0)
