"""Makes Python packages for a machine that reaches no index.

Usage: python make-packages.py DIR

Writes to DIR ten wheels of the size that a service's dependencies have, one
sdist whose C takes gcc some seconds, and requirements.txt that names them. The
sdist carries its own build backend, so building it asks for nothing else. The
same bytes come out each time.
"""

import base64
import hashlib
import io
import os
import random
import sys
import tarfile
import zipfile

WHEELS = ["web", "server", "orm", "models", "settings", "crypto", "client",
          "templates", "migrations", "events"]
VERSION = "1.0"
EPOCH = (2020, 1, 1, 0, 0, 0)

BACKEND = '''
import os, subprocess, sysconfig, zipfile

NAME = "quickstart_native"
INFO = NAME + "-1.0.dist-info"
METADATA = "Metadata-Version: 2.1\\nName: quickstart-native\\nVersion: 1.0\\n"


def build_wheel(wheel_directory, config_settings=None,
                metadata_directory=None):
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC",
         "-I" + sysconfig.get_paths()["include"],
         "native.c", "-o", NAME + suffix], check=True)
    tag = "cp%d%d" % __import__("sys").version_info[:2]
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = "%s-%s-%s" % (tag, tag, platform)
    wheel = "%s-1.0-%s.whl" % (NAME, tag)
    with zipfile.ZipFile(os.path.join(wheel_directory, wheel), "w",
                         zipfile.ZIP_DEFLATED) as out:
        out.write(NAME + suffix)
        out.writestr(INFO + "/METADATA", METADATA)
        out.writestr(INFO + "/WHEEL", "Wheel-Version: 1.0\\n"
                     "Root-Is-Purelib: false\\nTag: %s\\n" % tag)
        out.writestr(INFO + "/RECORD", "%s,,\\n" % (NAME + suffix) + "".join(
            "%s/%s,,\\n" % (INFO, f) for f in ("METADATA", "WHEEL", "RECORD")))
    return wheel


def build_sdist(sdist_directory, config_settings=None):
    raise NotImplementedError
'''

PYPROJECT = '''[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "quickstart-native"
version = "1.0"
'''

MODULE = '''
static PyObject *answer(PyObject *self, PyObject *args)
{
    (void)self; (void)args;
    return PyLong_FromUnsignedLong(step0(42));
}

static PyMethodDef methods[] = {
    {"answer", answer, METH_NOARGS, 0}, {0, 0, 0, 0},
};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "quickstart_native", 0, -1, methods, 0, 0, 0, 0,
};

PyMODINIT_FUNC PyInit_quickstart_native(void)
{
    return PyModule_Create(&module);
}
'''


def native_source(dice):
    """Functions enough to keep an optimising compiler busy for a while."""
    out = ["#include <Python.h>\n"]
    for i in range(300, -1, -1):
        out.append("static unsigned step%d(unsigned x)\n{\n" % i)
        for _ in range(12):
            out.append("    for (unsigned i = 0; i < %du; i++)\n"
                       "        x = (x ^ (x >> %du)) * %du + i;\n" %
                       (dice.randrange(3, 40), dice.randrange(1, 16),
                        dice.randrange(1, 1 << 31)))
        if i < 300:
            out.append("    if (x %% %du == 0)\n        x += step%d(x);\n" %
                       (dice.randrange(3, 90), i + 1))
        out.append("    return x;\n}\n")
    return "".join(out) + MODULE


def write_wheel(folder, name, dice):
    """A pure wheel of a few megabytes in a few dozen files."""
    package = "quickstart_" + name
    info = "%s-%s.dist-info" % (package, VERSION)
    files = {package + "/__init__.py": b"VERSION = '1.0'\n"}
    for i in range(40):
        text = base64.encodebytes(dice.randbytes(dice.randrange(4, 50) << 10))
        files["%s/part%d.py" % (package, i)] = b'DATA = """%s"""\n' % text
    files[info + "/METADATA"] = (
        "Metadata-Version: 2.1\nName: quickstart-%s\nVersion: %s\n" %
        (name, VERSION)).encode()
    files[info + "/WHEEL"] = (b"Wheel-Version: 1.0\n"
                              b"Root-Is-Purelib: true\nTag: py3-none-any\n")
    record = "".join("%s,,\n" % f for f in [*files, info + "/RECORD"])
    files[info + "/RECORD"] = record.encode()
    path = os.path.join(folder,
                        "%s-%s-py3-none-any.whl" % (package, VERSION))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for filename, body in files.items():
            out.writestr(zipfile.ZipInfo(filename, EPOCH), body)


def write_sdist(folder, dice):
    top = "quickstart_native-%s/" % VERSION
    metadata = ("Metadata-Version: 2.1\nName: quickstart-native\n"
                "Version: %s\n" % VERSION)
    path = os.path.join(folder, top[:-1] + ".tar.gz")
    with tarfile.open(path, "w:gz") as out:
        for filename, text in (("pyproject.toml", PYPROJECT),
                               ("PKG-INFO", metadata),
                               ("backend.py", BACKEND),
                               ("native.c", native_source(dice))):
            body = text.encode()
            entry = tarfile.TarInfo(top + filename)
            entry.size = len(body)
            out.addfile(entry, io.BytesIO(body))


def main():
    folder = sys.argv[1]
    for name in WHEELS:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        write_wheel(folder, name, random.Random(seed))
    write_sdist(folder, random.Random(1))
    with open(os.path.join(folder, "requirements.txt"), "w") as out:
        for name in [*WHEELS, "native"]:
            out.write("quickstart-%s==%s\n" % (name, VERSION))


if __name__ == "__main__":
    main()
