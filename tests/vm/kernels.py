"""Kernels as Debian packages them for clouds, and the small initramfs that brings each one to the world."""

import lzma
import re
import shutil
import subprocess
from pathlib import Path

from archive import Archive, Missing

# What a row calls a kernel, where it comes from, and how its version must begin.
SUITES = {"6.1": ("bookworm", "6.1."), "6.12": ("trixie", "6.12."), "7": ("sid", "7.")}

# What the guests use; whatever is built in is no module.
MODULES = ["virtio_pci", "virtio_blk", "ext4", "overlay"]


class Kernel:
    """An unpacked kernel: its image, and what it can do."""

    def __init__(self, name, tree):
        self.name = name
        self.image = next(tree.rglob("vmlinuz*"))
        self.modules = next(path for path in tree.rglob("modules/*") if (path / "kernel").is_dir())
        self.version = self.modules.name
        self.config = next(path for path in tree.rglob("config*") if path.is_file() and b"CONFIG_" in path.read_bytes())

    def has(self, option):
        """Whether it was built with CONFIG_option."""
        return re.search(rf"^CONFIG_{option}=[ym]$", self.config.read_text(), re.MULTILINE) is not None


def get(name, cache):
    """The kernel of this name, downloaded once. Raises Missing."""
    suite, beginning = SUITES[name]
    tree = cache / "kernels" / name
    if not (tree / "complete").exists():
        shutil.rmtree(tree, ignore_errors=True)
        archive = Archive(suite, cache)
        try:
            # `linux-image-V`, or since the packages were split `linux-base-V`; then what belongs to the same version.
            named = [found for found in archive.depends("linux-image-cloud-amd64") if re.match(r"linux-\w+-\d", found)]
            if not named:
                raise Missing(f"no kernel package in {suite}")
            version = named[0].split("-", 2)[2]
            image = f"linux-image-{version}"
            if not version.startswith(beginning):
                raise Missing(f"{suite} has {version}, not {beginning}*")
            parts = [found for found in archive.depends(image) if found.startswith("linux-") and version in found]
            archive.unpack([image, *parts], tree)
        except Missing:
            archive.forget()
            raise
        (tree / "complete").touch()
    return Kernel(name, tree)


def _module_files(kernel, wanted):
    """The files of these modules and of all that they need, needed ones first."""
    files = {
        re.sub(r"\.ko(\.xz|\.zst)?$", "", path.name).replace("-", "_"): path for path in kernel.modules.rglob("*.ko*")
    }
    order = {}

    def visit(name):
        if name in order or name not in files:
            return
        content = _module(files[name])
        needed = re.search(rb"\0depends=([^\0]*)\0", content)
        for other in needed[1].decode().split(",") if needed else []:
            visit(other.replace("-", "_"))
        order[name] = content

    for name in wanted:
        visit(name)
    return order


def _module(path):
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True).stdout
    return path.read_bytes()


def initramfs(kernel, busybox, init, cache):
    """A file that the kernel unpacks at boot: busybox, modules in order, and `init`."""
    entries = [(name, 0o040755, b"") for name in ("bin", "dev", "proc", "modules", "world")]
    entries.append(("bin/busybox", 0o100755, busybox.read_bytes()))
    entries.append(("bin/sh", 0o120777, b"busybox"))
    entries.append(("init", 0o100755, init.read_bytes()))
    for number, (name, content) in enumerate(_module_files(kernel, MODULES).items()):
        entries.append((f"modules/{number:02}-{name}.ko", 0o100644, content))
    path = cache / f"initramfs-{kernel.name}"
    path.write_bytes(_cpio(entries))
    return path


def _cpio(entries):
    """The `newc` form of cpio(5)."""
    archive = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        word = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(word), 0]
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + word
        archive += bytes(-len(archive) % 4)
        archive += content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)
