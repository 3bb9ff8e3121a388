//! Other sandboxes, each with the options that come closest to `sandbox run`: user, PID, mount, network, IPC and UTS
//! namespaces of its own, the system read-only, an own /proc and /dev. None of them has all of what `sandbox` has: limits,
//! a record of refused calls, a writable and thrown-away work directory.

use crate::candidate::PROGRAM;
use serde_json::json;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

type Peer = (String, Vec<OsString>);

const BWRAP: &str = "bwrap --unshare-all --die-with-parent --new-session --ro-bind /usr /usr --symlink usr/bin /bin \
    --symlink usr/lib /lib --symlink usr/lib64 /lib64 --ro-bind /etc /etc --proc /proc --dev /dev --tmpfs /tmp \
    --bind . /box --chdir /box";
const UNSHARE: &str = "unshare --user --map-root-user --pid --fork --mount --mount-proc --net --ipc --uts --cgroup";
const NSJAIL: &str = "nsjail -Mo -Q --chroot / --user 1000 --group 1000 --";
const MINIJAIL: &str = "minijail0 -U -m -M -p -v -r -l -N -e --uts -n";
const FIREJAIL: &str = "firejail --quiet --noprofile --net=none --private --private-dev --caps.drop=all --seccomp";

/// Those that this machine has. `home` takes the bundle that two of them need.
pub(crate) fn here(home: &Path) -> Result<Vec<Peer>, String> {
    let mut peers = rootless();
    for line in [NSJAIL, MINIJAIL, FIREJAIL] {
        peers.extend(peer(line));
    }
    for name in ["crun", "runc"] {
        if let Some(path) = find(name) {
            let words = ["run", "--bundle"].map(OsString::from);
            let mut all = vec![path.into()];
            all.extend(words);
            all.push(bundle(home)?.into());
            all.push(format!("sandbox-bench-{}", std::process::id()).into());
            peers.push((name.to_owned(), all));
        }
    }
    Ok(peers)
}

/// Those of them that an ordinary user can start.
pub(crate) fn rootless() -> Vec<Peer> {
    [BWRAP, UNSHARE].into_iter().filter_map(peer).collect()
}

fn peer(line: &str) -> Option<Peer> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let mut all: Vec<OsString> = vec![find(name)?.into()];
    all.extend(words.map(OsString::from));
    all.push(PROGRAM.into());
    Some((name.to_owned(), all))
}

/// The program of this name in `PATH` or where Debian keeps administrators' programs.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.push("/usr/sbin".into());
    dirs.into_iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// An OCI bundle: the system bound read-only into an empty root.
fn bundle(home: &Path) -> Result<PathBuf, String> {
    let bundle = home.join("bundle");
    let root = bundle.join("rootfs");
    fs::create_dir_all(&root).map_err(|e| format!("cannot make {}: {e}", root.display()))?;
    for (from, to) in [("usr/bin", "bin"), ("usr/lib", "lib"), ("usr/lib64", "lib64")] {
        let link = root.join(to);
        if !link.is_symlink() {
            std::os::unix::fs::symlink(from, &link).map_err(|e| format!("cannot make {}: {e}", link.display()))?;
        }
    }
    let bind = |path: &str| json!({ "destination": path, "source": path, "type": "bind", "options": ["rbind", "ro"] });
    let tmpfs = |path: &str| json!({ "destination": path, "source": "tmpfs", "type": "tmpfs" });
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 1000, "gid": 1000 },
            "args": [PROGRAM],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "sandbox",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            tmpfs("/dev"),
            tmpfs("/tmp"),
            bind("/usr"),
            bind("/etc"),
        ],
        "linux": { "namespaces": namespaces },
    });
    let file = bundle.join("config.json");
    fs::write(&file, format!("{config:#}\n")).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    Ok(bundle)
}
