"""What a driver proved, as lines "ok NAME" and "not ok NAME" on stdout."""

import sys

failures = 0


def _say(text):
    """In one piece: several threads may have something to say."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def ok(name):
    _say(f"ok {name}")


def not_ok(name, *why):
    global failures
    failures += 1
    reasons = "\n".join(str(w) for w in why).splitlines()
    _say("\n".join([f"not ok {name}"] + [f"  # {r}" for r in reasons]))


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
    _say(f"skip {name}: {why}")


def note(text):
    """Told only when the script fails, like all else that is no result."""
    _say(f"# {text}")


def finish():
    """Exits with 1 if a check failed."""
    sys.exit(1 if failures else 0)
