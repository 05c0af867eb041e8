"""cachectl run and its command: streams, status, signals, terminals."""

import argparse
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "torture"))
import tap  # noqa: E402

TAG = "tag=t"


class Runner:
    def __init__(self, cachectl, url, work):
        self.cachectl, self.url, self.work = cachectl, url, work
        self.number = 0

    def mount(self):
        self.number += 1
        return os.path.join(self.work, f"mount{self.number}")

    def words(self, command, mount=None, name=None, url=None, options=()):
        mount = mount or self.mount()
        name = name or os.path.basename(mount)
        return [self.cachectl, "--server", url or self.url, *options, "run",
                "-m", f"{name}={mount},{TAG}", "--", *command]

    def run(self, command, stdin=b"", **more):
        return subprocess.run(self.words(command, **more), input=stdin,
                              capture_output=True, timeout=60, check=False)

    def start(self, command, **more):
        return subprocess.Popen(self.words(command, **more),
                                stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)


def shell(text):
    return ["sh", "-c", text]


# --- streams and status

def streams(r):
    done = r.run(["cat"], stdin=b"a\0b\xff" * 100000)
    tap.check_eq("stdin and stdout pass as they are", b"a\0b\xff" * 100000,
                 done.stdout)
    done = r.run(shell("echo out; echo err >&2"))
    tap.check("stdout and stderr stay apart",
              done.stdout == b"out\n" and b"err\n" in done.stderr, done)
    done = r.run(shell("ls -l /proc/self/fd | tail -n +2 | wc -l"))
    tap.check("no descriptor of ours leaks into the command",
              int(done.stdout) <= 4, done)
    done = r.run(["printf", "%s|", "", "a b", "-m", "--", "x"])
    tap.check_eq("arguments pass as they are", b"|a b|-m|--|x|", done.stdout)


def status(r):
    for wanted in (0, 1, 2, 10, 125, 255):
        done = r.run(shell(f"exit {wanted}"))
        tap.check_eq(f"exit {wanted} is passed on", wanted, done.returncode)
    for name in ("TERM", "KILL", "INT", "SEGV", "PIPE"):
        number = getattr(signal, "SIG" + name)
        done = r.run(shell(f"kill -{name} $$"))
        tap.check_eq(f"a command ended by SIG{name} is 128+{int(number)}",
                     128 + number, done.returncode)
    tap.check_eq("no such command: 127", 127,
                 r.run(["no-such-command"]).returncode)
    tap.check_eq("not to be executed: 126", 126,
                 r.run(["/etc/passwd"]).returncode)
    child = subprocess.run(
        ["python3", "-c", "import signal, os, sys;"
         "signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
         "os.execv(sys.argv[1], sys.argv[1:])",
         *r.words(shell("exit 6"))], capture_output=True, timeout=60,
        check=False)
    tap.check_eq("a parent that ignores SIGCHLD does not lose the status", 6,
                 child.returncode)


# --- signals

def wait_for(path, seconds=20):
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def forwarded(r, number, name):
    """The command gets it, may take its time, and its status is ours."""
    mount = r.mount()
    mark = os.path.join(r.work, f"ready{r.number}")
    p = r.start(shell(f"trap 'echo got; sleep 0.3; echo ended; exit 23' {name};"
                      f"echo x >{mount}/x; echo >{mark};"
                      "while :; do sleep 0.05; done"), mount=mount)
    wait_for(mark)
    p.send_signal(number)
    out, err = p.communicate(timeout=30)
    tap.check(f"SIG{name} to cachectl alone reaches the command, which ends "
              "as it likes", p.returncode == 23 and out == b"got\nended\n",
              p.returncode, out, err)
    tap.check(f"SIG{name}: nothing is saved", b"saved 1" not in err, err)


def signals(r):
    for name in ("TERM", "INT", "HUP"):
        forwarded(r, getattr(signal, "SIG" + name), name)
    mark = os.path.join(r.work, "plain")
    p = r.start(shell(f"echo >{mark}; exec sleep 30"))
    wait_for(mark)
    p.terminate()
    p.communicate(timeout=30)
    tap.check_eq("a command that SIGTERM ends: 143", 143, p.returncode)
    # As under nohup: what we were told to ignore, the command ignores too.
    mark = os.path.join(r.work, "nohup")
    p = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "-",
         *r.words(shell(f"echo >{mark}; sleep 1; echo survived"))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(mark)
    p.send_signal(signal.SIGHUP)
    out, _ = p.communicate(timeout=30)
    tap.check("an ignored SIGHUP stays ignored, in the command too",
              p.returncode == 0 and out == b"survived\n", p.returncode, out)


def signal_while_restoring(r, slow):
    """It ends soon, says 143, and the command never runs."""
    mark = os.path.join(r.work, "must-not")
    p = r.start(["touch", mark], name="bulk", url=slow.url)
    slow.wait_for_bytes(64 << 10)
    begin = time.monotonic()
    p.terminate()
    _, err = p.communicate(timeout=30)
    seconds = time.monotonic() - begin
    tap.check("SIGTERM while restoring ends the run with 143, soon",
              p.returncode == 143 and seconds < 3, p.returncode, seconds, err)
    tap.check("SIGTERM while restoring: the command is not run",
              not os.path.exists(mark), err)


# --- terminals

class Terminal:
    """A command on a terminal of its own; what it wrote is in .text."""

    def __init__(self, words, environment=None):
        self.text = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(words[0], words,
                       {**os.environ, "TERM": "xterm", **(environment or {})})

    def read_until(self, wanted, seconds=20):
        end = time.monotonic() + seconds
        while wanted not in self.text and time.monotonic() < end:
            if not self._read():
                break
        return wanted in self.text

    def _read(self):
        try:
            got = os.read(self.fd, 65536)
        except OSError:
            got = b""
        self.text += got
        return got

    def type(self, data):
        os.write(self.fd, data)

    def end(self):
        while self._read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def terminal(r):
    t = Terminal(r.words(shell("trap 'echo got-int; n=1' INT; echo ready;"
                               "while [ -z \"$n\" ]; do sleep 0.05; done;"
                               "sleep 0.5; echo over; exit 31")))
    t.read_until(b"ready")
    t.type(b"\x03")
    got = t.end()
    tap.check("Ctrl-C reaches the command once; it ends as it likes",
              got == 31 and t.text.count(b"got-int") == 1 and
              b"over" in t.text, got, t.text)
    t = Terminal(r.words(["sh", "-c", "echo ready; exec sleep 30"]))
    t.read_until(b"ready")
    t.type(b"\x03")
    got = t.end()
    tap.check_eq("Ctrl-C that ends the command: 130", 130, got)
    t = Terminal(r.words(shell("tty; read line; echo \"<$line>\"")))
    t.type(b"typed\n")
    got = t.end()
    tap.check("the command has the terminal", got == 0 and
              b"/dev/pts/" in t.text and b"<typed>" in t.text, t.text)


class SlowProxy:
    """Hands bytes on to the daemon; those that come back, slowly."""

    def __init__(self, url, bytes_a_second):
        self.target = url.rsplit("/", 1)[1].split(":")
        self.rate = bytes_a_second
        self.passed = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.socket.accept()
            server = socket.create_connection(
                (self.target[0], int(self.target[1])))
            for a, b, slow in ((client, server, False),
                               (server, client, True)):
                threading.Thread(target=self._pump, args=(a, b, slow),
                                 daemon=True).start()

    def _pump(self, source, sink, slow):
        try:
            while data := source.recv(8192):
                if slow:
                    self.passed += len(data)
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def wait_for_bytes(self, count):
        begin, end = self.passed, time.monotonic() + 20
        while self.passed < begin + count and time.monotonic() < end:
            time.sleep(0.01)


def bars(r, slow):
    options = ["--jobs", "2"]
    words = r.words(["true"], name="bulk", url=slow.url, options=options)
    t = Terminal(words)
    got = t.end()
    tap.check("a bar on a terminal, for a restore of over a second",
              got == 0 and b"\r\x1b[K" in t.text and b"MiB" in t.text and
              b"#" in t.text, t.text[-800:])
    last = t.text.rsplit(b"\x1b[K", 1)[-1]
    tap.check("it is wiped before the line that tells what was restored",
              last.startswith(b"cachectl: bulk: "), last)
    for name, environment, more in (
            ("NO_COLOR", {"NO_COLOR": "1"}, []),
            ("TERM=dumb", {"TERM": "dumb"}, []),
            ("--no-color", {}, ["--no-color"]),
            ("--quiet", {}, ["-q"])):
        words = r.words(["true"], name="bulk", url=slow.url,
                        options=options)
        # Behind the verb, where the bar must not have been set up already.
        words[words.index("run") + 1:words.index("run") + 1] = more
        t = Terminal(words, environment)
        got = t.end()
        tap.check(f"no bar with {name}",
                  got == 0 and b"\x1b[K" not in t.text, t.text[-800:])
    begin = time.monotonic()
    done = r.run(["true"], name="bulk", url=slow.url, options=options)
    tap.check("no bar in a pipe", done.returncode == 0 and
              b"\x1b" not in done.stderr and b"\r" not in done.stderr and
              time.monotonic() - begin > 1.2, done)
    t = Terminal(r.words(["true"], name="bulk"))
    got = t.end()
    tap.check("no bar for work of less than a second",
              got == 0 and b"\x1b[K" not in t.text, t.text[-800:])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cachectl", required=True)
    p.add_argument("--url", required=True)
    p.add_argument("--work", required=True)
    a = p.parse_args()
    r = Runner(a.cachectl, a.url, a.work)
    streams(r)
    status(r)
    signals(r)
    terminal(r)
    bulk = r.mount()
    os.mkdir(bulk)
    for i in range(8):
        with open(os.path.join(bulk, f"f{i}"), "wb") as f:
            f.write(os.urandom(512 << 10))
    r.run(["true"], mount=bulk, name="bulk")
    slow = SlowProxy(a.url, 1 << 20)
    bars(r, slow)
    signal_while_restoring(r, slow)
    tap.finish()


main()
