"""A disk that loses its power: a file system in a file, on a loop device.

What the server wrote and did not sync is in the file system's memory, not in
the file. So a copy of the file, made right after the server was killed, is
what a machine would find after power came back. The commit interval is long,
so that the kernel does not sync by itself meanwhile."""

import os
import shutil
import subprocess


class PowerDisk:
    def __init__(self, folder, megabytes):
        self.image = os.path.join(folder, "disk")
        self.mount_point = os.path.join(folder, "mount")
        self.megabytes = megabytes
        self.mounted = False

    def create(self):
        os.makedirs(self.mount_point, exist_ok=True)
        with open(self.image, "wb") as f:
            f.truncate(self.megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", self.image)
        self._mount()
        self._prove()

    def _prove(self):
        """That it does lose what was not synced, and only that."""
        kept = os.path.join(self.mount_point, "kept")
        lost = os.path.join(self.mount_point, "lost")
        with open(kept, "wb") as f:
            f.write(b"synced")
            f.flush()
            os.fsync(f.fileno())
        with open(lost, "wb") as f:
            f.write(b"not synced")
        self.lose_power()
        with open(kept, "rb") as f:
            if f.read() != b"synced":
                raise RuntimeError("the disk lost what was synced")
        if os.path.exists(lost) and os.path.getsize(lost):
            raise RuntimeError("the disk kept what was not synced")

    def _mount(self):
        _run("mount", "-o", "loop,commit=300", self.image, self.mount_point)
        self.mounted = True

    def lose_power(self):
        """The server is dead: goes on with what the file holds by now."""
        copy = self.image + ".copy"
        _run("cp", "--sparse=always", self.image, copy)
        self.release()
        os.rename(copy, self.image)
        self._mount()

    def release(self):
        if self.mounted:
            _run("umount", self.mount_point)
            self.mounted = False


def possible():
    return os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
