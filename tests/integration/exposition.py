"""Reads and checks Prometheus' text format 0.0.4 and OpenMetrics 1.0, strictly:
whatever it does not know is an error."""

import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(r"(?:[+-]?Inf|NaN|[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\Z")
TYPES = ("counter", "gauge", "histogram")


class Wrong(Exception):
    pass


def want(holds, line, why):
    if not holds:
        raise Wrong(f"{why}: {line!r}")


def labels_of(text, line):
    """The labels between braces, in order and all of them."""
    out, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        want(m, line, "a label")
        want(m[1] not in out, line, "a label twice")
        out[m[1]] = re.sub(r"\\(.)", lambda e: {"n": "\n"}.get(e[1], e[1]),
                           m[2])
        at = m.end()
        if at < len(text):
            want(text[at] == "," and at + 1 < len(text), line, "a comma")
            at += 1
    return out


def sample_of(line):
    m = re.match(r"([^{ ]+)(?:\{(.*)\})? (\S+)\Z", line)
    want(m and NAME.match(m[1]) and NUMBER.match(m[3]), line, "a sample")
    return m[1], labels_of(m[2] or "", line), float(m[3].replace("Inf", "inf"))


class Exposition:
    """Families by name: type, help, and {labels: value} of each sample name."""

    def __init__(self, text, openmetrics=False):
        self.families, self.samples, self.openmetrics = {}, {}, openmetrics
        want(text.endswith("\n"), text[-20:], "a newline at the end")
        lines = text[:-1].split("\n")
        if openmetrics:
            want(lines.pop() == "# EOF", text[-20:], "# EOF at the end")
        self.family = None
        for line in lines:
            if line.startswith("# "):
                self.comment(line)
            else:
                self.sample(line)
        for name, (kind, _) in self.families.items():
            if kind == "histogram":
                self.check_histogram(name)

    def comment(self, line):
        m = re.match(r"# (HELP|TYPE) (\S+) (.+)\Z", line)
        want(m and NAME.match(m[2]), line, "HELP or TYPE")
        word, name, rest = m.groups()
        if word == "HELP":
            want(name not in self.families, line, "a family twice")
            self.families[name] = (None, rest)
            self.family = name
            return
        want(name == self.family and self.families[name][0] is None
             and rest in TYPES, line, "TYPE after its HELP")
        self.families[name] = (rest, self.families[name][1])

    def suffixes(self):
        kind = self.families[self.family][0]
        if kind == "histogram":
            return ("_bucket", "_count", "_sum")
        if kind == "counter" and self.openmetrics:
            return ("_total",)
        return ("",)

    def sample(self, line):
        name, labels, value = sample_of(line)
        want(self.family and name in
             [self.family + s for s in self.suffixes()], line,
             f"a sample of family {self.family}")
        kind = self.families[self.family][0]
        if kind == "counter":
            want(name.endswith("_total"), line, "a counter's name")
        if kind != "gauge":
            want(value >= 0, line, "a count")
        key = frozenset(labels.items())
        series = self.samples.setdefault(name, {})
        want(key not in series, line, "a series twice")
        series[key] = value

    def check_histogram(self, name):
        buckets = {}
        for key, value in self.samples.get(name + "_bucket", {}).items():
            labels = dict(key)
            bound = float(labels.pop("le").replace("Inf", "inf"))
            buckets.setdefault(frozenset(labels.items()), []).append(
                (bound, value))
        for series in (name + "_count", name + "_sum"):
            want(set(self.samples.get(series, {})) == set(buckets), series,
                 "the same series in each part of a histogram")
        for key, values in buckets.items():
            values.sort()
            counts = [v for _, v in values]
            want(values[-1][0] == math.inf and counts == sorted(counts)
                 and counts[-1] == self.samples[name + "_count"][key], name,
                 "buckets that add up")

    def value(self, name, **labels):
        """One sample; None if it is not there."""
        return self.samples.get(name, {}).get(frozenset(labels.items()))

    def sum(self, name, **labels):
        """All samples that have these labels, among others."""
        return sum(v for k, v in self.samples.get(name, {}).items()
                   if set(labels.items()) <= set(k))

    def label_values(self, label):
        return {dict(k)[label] for series in self.samples.values()
                for k in series if label in dict(k)}

    def series(self):
        return sum(len(s) for s in self.samples.values())


def self_test():
    """A checker that finds nothing proves nothing: each of these is wrong."""
    good = ("# HELP a_total x\n# TYPE a_total counter\n"
            'a_total{k="v\\"\\\\\\n"} 1\n'
            "# HELP h x\n# TYPE h histogram\n"
            'h_bucket{le="1.0"} 1\nh_bucket{le="+Inf"} 2\nh_count 2\n'
            "h_sum 2.5\n")
    e = Exposition(good)
    assert e.value("a_total", k='v"\\\n') == 1 and e.series() == 5
    for old, new in (
            ("h_sum 2.5\n", "h_sum 2.5"), ("h_count 2", "h_count 3"),
            ("h_count 2\n", ""), ('{le="1.0"} 1', '{le="1.0"} 3'),
            ('le="+Inf"', 'le="2.0"'), ("counter", "count"),
            ('a_total{', 'b_total{'), ("} 1\n#", "} -1\n#"),
            ("} 1\n#", "} one\n#"), ("} 1\n#", "}  1\n#"),
            ('{k="v', '{k="v\n'), ('{k=', '{9k='), ('\\n"}', '\\x"}'),
            ("# HELP h x\n", ""), ("# TYPE h", "# TYPE g"),
            ('h_bucket{le="1.0"} 1\n', 'h_bucket{le="1.0"} 1\n' * 2),
            ("# HELP h x", "# HELP a_total x"), ("a_total", "a")):
        bad = good.replace(old, new)
        assert bad != good, old
        try:
            Exposition(bad)
        except Wrong:
            continue
        raise AssertionError(f"taken for good: {old!r} -> {new!r}")
