"""Packages of Debian's suites, through an apt root of our own: the system's apt is only read, for where its archive is."""

import os
import re
import shutil
import subprocess
from pathlib import Path


class Missing(Exception):
    """Something that this machine cannot get; the message is for people."""


def mirror_and_key():
    """The machine's own Debian archive, and the keyring it trusts for that; SANDBOX_VM_MIRROR names another archive."""
    key = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    found = os.environ.get("SANDBOX_VM_MIRROR")
    if found is None:
        places = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.[ls]*"))]
        text = "\n".join(place.read_text() for place in places if place.suffix in (".list", ".sources") and place.exists())
        lines = re.findall(r"^(?:deb(?:\s+\[[^]]*\])?|URIs:)\s+(\S+/debian/?)(?:\s|$)", text, re.MULTILINE)
        if not lines:
            raise Missing("the apt sources of this machine name no Debian archive, and SANDBOX_VM_MIRROR is not set")
        found = lines[0]
    if not key.exists():
        raise Missing(f"there is no {key} (package debian-archive-keyring)")
    return found, key


class Archive:
    """One suite. Its lists are fetched once and kept."""

    def __init__(self, suite, cache):
        self.suite = suite
        self.root = cache / "apt" / suite
        self.packages = cache / "packages"

    def _apt(self, tool, *words, cwd=None):
        command = [tool, "-c", str(self.root / "apt.conf"), "-q", *words]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
        if done.returncode != 0:
            raise Missing(f"{tool} {' '.join(words)} ({self.suite}): {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _prepare(self):
        if (self.root / "ready").exists():
            return
        mirror, key = mirror_and_key()
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("lists/partial", "cache/archives/partial", "none"):
            (self.root / name).mkdir(parents=True)
        (self.root / "status").touch()
        (self.root / "sources.list").write_text(f"deb [signed-by={key}] {mirror} {self.suite} main\n")
        # Read after the system's own configuration: its proxies stay, its hooks and its preferences do not.
        (self.root / "apt.conf").write_text(
            "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
            f'Dir::State "{self.root}";\nDir::State::lists "{self.root}/lists";\n'
            f'Dir::State::status "{self.root}/status";\nDir::Cache "{self.root}/cache";\n'
            f'Dir::Etc::sourcelist "{self.root}/sources.list";\nDir::Etc::sourceparts "{self.root}/none";\n'
            f'Dir::Etc::preferences "{self.root}/none/none";\nDir::Etc::preferencesparts "{self.root}/none";\n'
            'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\nAcquire::Languages "none";\n'
            'APT::Sandbox::User "root";\n'
        )
        self._apt("apt-get", "update", "-o", "APT::Update::Error-Mode=any")
        (self.root / "ready").touch()

    def forget(self):
        """The next question fetches the lists again."""
        shutil.rmtree(self.root, ignore_errors=True)

    def depends(self, package):
        """Names of the packages that it directly depends on."""
        self._prepare()
        return re.findall(r"^  (?:Pre)?Depends: ([^<\s]+)$", self._apt("apt-cache", "depends", package), re.MULTILINE)

    def unpack(self, packages, into):
        """Downloads packages and unpacks them, without running anything of theirs."""
        self._prepare()
        into.mkdir(parents=True, exist_ok=True)
        for package in packages:
            place = self.packages / self.suite / package
            if not any(place.glob("*.deb")):
                place.mkdir(parents=True, exist_ok=True)
                self._apt("apt-get", "download", package, cwd=place)
            for file in place.glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", str(file), str(into)], check=True)
