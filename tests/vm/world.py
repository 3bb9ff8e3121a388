"""The file system that every guest boots into: the binary under test, the test programs, and a few commands."""

import hashlib
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from archive import Archive, Missing

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
TARGET = "x86_64-unknown-linux-musl"
TESTS = ("behaviour", "attacks")

# The suite that the guests' commands come from, and the packages.
SUITE = "trixie"
PACKAGES = [
    "busybox-static", "dash", "coreutils", "procps", "apparmor",
    "libc6", "libacl1", "libattr1", "libcap2", "libgmp10", "libpcre2-8-0", "libproc2-0", "libselinux1", "libssl3t64",
    "libsystemd0", "libzstd1", "zlib1g",
]  # fmt: skip

# Links to the directories of the same names in /usr.
MERGED = ("bin", "sbin", "lib", "lib64")

# What nobody reads in a guest.
UNUSED = [("usr", "share", name) for name in ("doc", "info", "locale", "man")]


def _cargo(profile, *words):
    """What cargo made, as {target name: path}."""
    command = ["cargo", *words, "--target", TARGET, "--message-format", "json-render-diagnostics"]
    command += ["--release"] if profile == "release" else []
    done = subprocess.run(command, cwd=TREE, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"run: {' '.join(command)} failed")
    made = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            made[message["target"]["name"]] = Path(message["executable"])
    return made


def _compile(source, cache):
    """A program in C as the tests compile it, made once per content. Guests have no compiler."""
    words = ["cc", "-std=gnu11", "-O1", "-Wall", "-Werror", "-static", "-s"]
    content = [path.read_bytes() for path in [source, *sorted(source.parent.glob("*.h"))]]
    key = hashlib.sha256(repr(words).encode() + b"".join(content)).hexdigest()[:20]
    program = cache / "programs" / key
    if not program.exists():
        part = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*words, "-o", str(part), str(source), "-lpthread"], capture_output=True, text=True)
        if done.returncode != 0:
            # The trial that wants it says so: not every source is a program.
            return None
        part.rename(program)
    return program


def _copy(source, target, mode):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _commands(cache):
    """The packages' files, as a machine has them whose /bin, /sbin and /lib are links into /usr."""
    key = hashlib.sha256(repr((SUITE, PACKAGES)).encode()).hexdigest()[:20]
    tree = cache / "commands" / key
    if (tree / "complete").exists():
        return tree
    shutil.rmtree(tree, ignore_errors=True)
    archive = Archive(SUITE, cache)
    try:
        archive.unpack(PACKAGES, tree / "unpacked")
    except Missing:
        archive.forget()
        raise
    for path in sorted((tree / "unpacked").rglob("*")):
        inside = path.relative_to(tree / "unpacked")
        if inside.parts[:3] in UNUSED or (path.is_dir() and not path.is_symlink()):
            continue
        merged = inside if inside.parts[0] not in MERGED else Path("usr", inside)
        target = tree / "root" / merged
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)
    (tree / "complete").touch()
    return tree


def _programs(tree, cache):
    """The tests' programs in C, and their sources where the test programs were built and read them."""
    sources = [path for path in (TREE / "tests").glob("*/*") if path.suffix in (".c", ".h", ".md")]
    for path in sources:
        _copy(path, tree / path.relative_to("/"), 0o644)
    programs = [path for path in sources if path.suffix == ".c"]
    (cache / "programs").mkdir(exist_ok=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, program in zip(programs, pool.map(lambda path: _compile(path, cache), programs)):
            if program is not None:
                _copy(program, tree / "tests/programs" / path.stem, 0o755)


def build(cache, profile):
    """The image, and the path of a static busybox."""
    commands = _commands(cache) / "root"
    busybox = commands / "usr/bin/busybox"
    tree = cache / "world"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(commands, tree, symlinks=True)
    for name in ("usr/sbin", "usr/lib64", "etc", "dev", "proc", "sys", "run", "root", "home/user", "tests"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name in MERGED:
        (tree / name).symlink_to(f"usr/{name}")
    for name in ("tmp", "var/tmp"):
        (tree / name).mkdir(parents=True)
        (tree / name).chmod(0o1777)
    # The shell and the small commands are those that users have; busybox stands in for the rest.
    (tree / "usr/bin/sh").unlink(missing_ok=True)
    (tree / "usr/bin/sh").symlink_to("dash")
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if not any(os.path.lexists(tree / "usr" / place / applet) for place in ("bin", "sbin")):
            (tree / "usr/bin" / applet).symlink_to("busybox")

    made = _cargo(profile, "build", "--bin", "sandbox")
    made |= _cargo("dev", "test", "--no-run", *(word for name in TESTS for word in ("--test", name)))
    _copy(made["sandbox"], tree / "usr/bin/sandbox", 0o755)
    for name in TESTS:
        _copy(made[name], tree / "tests" / name, 0o755)
        subprocess.run(["strip", str(tree / "tests" / name)], check=True)
    _programs(tree, cache)
    for name in ("cc", "sudo"):
        (tree / "usr/bin" / name).symlink_to(f"/vm/{name}")

    for path in (HERE / "guest").iterdir():
        _copy(path, tree / "vm" / path.name, 0o755)
    for path in (HERE / "rows").iterdir():
        _copy(path, tree / "vm/rows" / path.name, 0o644)
    (tree / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    return _image(tree, cache), busybox


def _image(tree, cache):
    """An ext4 file system with this content, and with room for the tests."""
    mke2fs = shutil.which("mke2fs", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
    if mke2fs is None:
        raise Missing("there is no mke2fs (package e2fsprogs)")
    image = cache / "world.img"
    image.unlink(missing_ok=True)
    size = sum(path.lstat().st_size for path in tree.rglob("*")) // 2**20 + 512
    command = [mke2fs, "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", str(tree), str(image), f"{size}M"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return image
