//! Where we run, told from traces that containers, systems and services leave: what has to be typed to mend something
//! depends on it. Reading the traces and deciding are apart, so that every place can be tested anywhere.

use super::remedy::words_for_a_shell;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The kind of place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "name", rename_all = "kebab-case")]
pub enum PlaceKind {
    /// A Docker container.
    Docker,
    /// A container of a Kubernetes pod.
    Kubernetes,
    /// A podman container.
    Podman,
    /// An LXC, LXD or Incus container.
    Lxc,
    /// A container of another maker: what `container=` or `/run/systemd/container` calls it.
    Container(String),
    /// A chroot that is no container.
    Chroot,
    /// A runner of GitHub Actions, outside a container.
    GithubActions,
    /// The Windows subsystem, second version.
    Wsl2,
    /// A login session of systemd (ssh, console): its scope's name.
    Session(String),
    /// A service of the system manager: the unit's name.
    Service(String),
    /// Below the user's own systemd manager, where cgroups can be had without root.
    UserManager,
    /// None of these.
    Plain,
}

/// Where we run, and what of it decides why something is refused and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The kind.
    #[serde(flatten)]
    pub kind: PlaceKind,
    /// Our effective uid.
    pub uid: u32,
    /// The running program's absolute path.
    pub program: PathBuf,
    /// The program may be read, so its processes may be looked into by their owner (mode 0711 forbids it).
    pub dumpable: bool,
    /// systemd runs this system.
    pub systemd: bool,
    /// In a job of GitHub Actions, on the runner or in a container.
    pub github_actions: bool,
    /// The root directory is not the namespace's.
    pub chroot: bool,
    /// A seccomp filter is on us.
    pub filtered: bool,
    /// We cannot gain privilege by exec.
    pub no_new_privs: bool,
    /// `kernel.apparmor_restrict_unprivileged_userns` is on (Ubuntu since 23.10).
    pub apparmor_restricts: bool,
    /// The AppArmor profile that confines us.
    pub apparmor_profile: Option<String>,
    /// SELinux enforces.
    pub selinux: bool,
    /// `kernel.unprivileged_userns_clone` is 0 (Debian's switch).
    pub userns_clone_off: bool,
    /// `user.max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i64>,
    /// The user namespace that we are in maps our own id only, so root in it cannot become anybody else.
    pub lone_id: bool,
    /// The user namespace that we are in has no map.
    pub unmapped: bool,
    /// /proc is there. Without it, half of the above is not known.
    pub proc: bool,
}

/// What was read, as it was read.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// `/.dockerenv` is there.
    pub dockerenv: bool,
    /// `/run/.containerenv` is there.
    pub containerenv: bool,
    /// `$KUBERNETES_SERVICE_HOST` is set, or a service account is mounted.
    pub kubernetes: bool,
    /// `$GITHUB_ACTIONS` is `true`.
    pub github_actions: bool,
    /// `$container`, else `/run/systemd/container`, else empty.
    pub container: String,
    /// `/proc/version`
    pub version: String,
    /// `/proc/self/cgroup`
    pub cgroup: String,
    /// `/proc/self/mountinfo`
    pub mountinfo: String,
    /// `/` and `/proc/1/root` differ; `None` where that may not be read.
    pub root_differs: Option<bool>,
    /// `$SCHROOT_SESSION_ID` is set.
    pub schroot: bool,
    /// `/proc/self/status`
    pub status: String,
    /// `/proc/self/uid_map`
    pub uid_map: String,
    /// `/proc/self/attr/current`, empty without a security module that has it.
    pub label: String,
    /// `/run/systemd/system` is there.
    pub systemd: bool,
    /// `/proc/sys/kernel/apparmor_restrict_unprivileged_userns`
    pub apparmor_restrict: Option<i64>,
    /// `/proc/sys/kernel/unprivileged_userns_clone`
    pub userns_clone: Option<i64>,
    /// `/proc/sys/user/max_user_namespaces`
    pub max_user_namespaces: Option<i64>,
    /// `/proc/sys/kernel/perf_event_paranoid`
    pub perf_event_paranoid: Option<i64>,
    /// `/sys/fs/selinux/enforce`
    pub selinux_enforce: Option<i64>,
    /// prctl(PR_GET_DUMPABLE) says 1.
    pub dumpable: bool,
    /// Our effective uid.
    pub uid: u32,
    /// `/proc/self/exe`
    pub program: PathBuf,
}

impl Traces {
    /// Reads them; what cannot be read is as if it were not there.
    pub fn read() -> Traces {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| text(path).trim().parse().ok();
        let there = |path: &str| Path::new(path).exists();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let container = std::env::var("container").ok().filter(|name| !name.is_empty());
        Traces {
            dockerenv: there("/.dockerenv"),
            containerenv: there("/run/.containerenv"),
            kubernetes: set("KUBERNETES_SERVICE_HOST") || there("/var/run/secrets/kubernetes.io/serviceaccount"),
            github_actions: std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
            container: container.unwrap_or_else(|| text("/run/systemd/container").trim().to_owned()),
            version: text("/proc/version"),
            cgroup: text("/proc/self/cgroup"),
            mountinfo: text("/proc/self/mountinfo"),
            root_differs: root_differs(),
            schroot: set("SCHROOT_SESSION_ID"),
            status: text("/proc/self/status"),
            uid_map: text("/proc/self/uid_map"),
            label: text("/proc/self/attr/current").trim_end_matches(['\0', '\n']).to_owned(),
            systemd: there("/run/systemd/system"),
            apparmor_restrict: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            perf_event_paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            selinux_enforce: number("/sys/fs/selinux/enforce"),
            dumpable: crate::sys::query::dumpable(),
            uid: nix::unistd::geteuid().as_raw(),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("sandbox")),
        }
    }
}

/// Whether our root directory is another than PID 1's, where we may look.
fn root_differs() -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = std::fs::metadata("/").ok()?;
    let first = std::fs::metadata("/proc/1/root/.").ok()?;
    Some((ours.dev(), ours.ino()) != (first.dev(), first.ino()))
}

impl Place {
    /// Looks around: some twenty small files, for `check` and for a start that failed, not for every run.
    pub fn read() -> Place {
        Place::told_by(&Traces::read())
    }

    /// Decides.
    pub fn told_by(traces: &Traces) -> Place {
        let status = |key: &str| {
            let line = traces.status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map_or("", str::trim)
        };
        let chroot = is_chroot(traces);
        Place {
            kind: kind(traces, chroot),
            uid: traces.uid,
            program: traces.program.clone(),
            dumpable: traces.dumpable,
            systemd: traces.systemd,
            github_actions: traces.github_actions,
            chroot,
            filtered: status("Seccomp") == "2",
            no_new_privs: status("NoNewPrivs") == "1",
            apparmor_restricts: traces.apparmor_restrict.is_some_and(|value| value != 0),
            apparmor_profile: apparmor_profile(&traces.label),
            selinux: traces.selinux_enforce == Some(1),
            userns_clone_off: traces.userns_clone == Some(0),
            max_user_namespaces: traces.max_user_namespaces.and_then(|count| u64::try_from(count).ok()),
            perf_event_paranoid: traces.perf_event_paranoid,
            lone_id: traces.uid_map.lines().count() == 1
                && traces.uid_map.split_whitespace().nth(2).is_some_and(|count| count == "1"),
            unmapped: !traces.status.is_empty() && traces.uid_map.trim().is_empty(),
            proc: !traces.status.is_empty(),
        }
    }

    /// Whether a filter is on us that no known place explains: most likely a sandbox's, this one's included.
    pub fn inside_a_sandbox(&self) -> bool {
        self.filtered && self.no_new_privs && !self.is_container() && !matches!(self.kind, PlaceKind::Service(_))
    }

    /// Whether this is some container.
    pub fn is_container(&self) -> bool {
        match self.kind {
            PlaceKind::Docker
            | PlaceKind::Kubernetes
            | PlaceKind::Podman
            | PlaceKind::Lxc
            | PlaceKind::Container(_) => true,
            PlaceKind::Chroot
            | PlaceKind::GithubActions
            | PlaceKind::Wsl2
            | PlaceKind::Session(_)
            | PlaceKind::Service(_)
            | PlaceKind::UserManager
            | PlaceKind::Plain => false,
        }
    }

    /// A few words for a person, to stand behind `in`: `a Docker container, as root`.
    pub fn words(&self) -> String {
        let place = match &self.kind {
            PlaceKind::Docker => "a Docker container".to_owned(),
            PlaceKind::Kubernetes => "a Kubernetes pod".to_owned(),
            PlaceKind::Podman => "a podman container".to_owned(),
            PlaceKind::Lxc => "an LXC container".to_owned(),
            PlaceKind::Container(maker) => format!("a container ({maker})"),
            PlaceKind::Chroot => "a chroot".to_owned(),
            PlaceKind::GithubActions => "a GitHub Actions runner".to_owned(),
            PlaceKind::Wsl2 => "WSL2".to_owned(),
            PlaceKind::Session(scope) => format!("a login session ({scope})"),
            PlaceKind::Service(unit) => format!("a systemd service ({unit})"),
            PlaceKind::UserManager => "a program of the user's systemd".to_owned(),
            PlaceKind::Plain if self.inside_a_sandbox() => "another sandbox".to_owned(),
            PlaceKind::Plain => "no container".to_owned(),
        };
        let who = if self.uid == 0 { "root".to_owned() } else { format!("uid {}", self.uid) };
        format!("{place}, as {who}")
    }

    /// The program's path as a word of a shell command.
    pub(crate) fn program_word(&self) -> String {
        words_for_a_shell(&self.program)
    }
}

/// The more specific trace wins: a pod's container has Docker's traces too, and a container on WSL2 is mended as a
/// container.
fn kind(traces: &Traces, chroot: bool) -> PlaceKind {
    let cgroup_names = |word: &str| traces.cgroup.lines().any(|line| line.contains(word));
    let version = traces.version.to_ascii_lowercase();
    if traces.kubernetes || cgroup_names("/kubepods") {
        PlaceKind::Kubernetes
    } else if traces.containerenv || traces.container == "podman" || cgroup_names("/libpod-") {
        PlaceKind::Podman
    } else if is_docker(traces) || cgroup_names("/docker/") || cgroup_names("/docker-") {
        PlaceKind::Docker
    } else if traces.container.starts_with("lxc") || cgroup_names("/lxc/") || cgroup_names("/lxc.payload") {
        PlaceKind::Lxc
    } else if !traces.container.is_empty() && traces.container != "wsl" {
        PlaceKind::Container(traces.container.clone())
    } else if chroot {
        PlaceKind::Chroot
    } else if traces.github_actions {
        PlaceKind::GithubActions
    } else if version.contains("wsl2") || version.contains("microsoft") {
        PlaceKind::Wsl2
    } else {
        unit(&traces.cgroup)
    }
}

/// `/.dockerenv` alone may be left over in a virtual machine whose disk was made from an image; Docker also mounts the
/// container's own name files.
fn is_docker(traces: &Traces) -> bool {
    let mounted = |point: &str| traces.mountinfo.lines().any(|line| line.split(' ').nth(4) == Some(point));
    let named = mounted("/etc/hostname") || mounted("/etc/resolv.conf");
    traces.container == "docker" || (traces.dockerenv && named)
}

/// The systemd unit that our cgroup belongs to: on v2 the line `0::`, on v1 the hierarchy `name=systemd`.
fn unit(cgroup: &str) -> PlaceKind {
    let path = |marker: &str| {
        let line = cgroup.lines().find_map(|line| line.split_once(marker));
        line.map(|(_, path)| path).filter(|path| *path != "/")
    };
    let Some(path) = path("0::").or_else(|| path(":name=systemd:")) else { return PlaceKind::Plain };
    let names: Vec<&str> = path.split('/').collect();
    if names.iter().any(|name| name.starts_with("user@") && name.ends_with(".service")) {
        return PlaceKind::UserManager;
    }
    let session = names.iter().find(|name| name.starts_with("session-") && name.ends_with(".scope"));
    let service = names.iter().find(|name| name.ends_with(".service"));
    match (session, service) {
        (Some(scope), _) => PlaceKind::Session((*scope).to_owned()),
        (None, Some(unit)) => PlaceKind::Service((*unit).to_owned()),
        (None, None) => PlaceKind::Plain,
    }
}

/// `mountinfo` lists what is below our root directory: in a chroot into a plain directory, `/` itself is missing.
fn is_chroot(traces: &Traces) -> bool {
    let has_root = traces.mountinfo.lines().any(|line| line.split(' ').nth(4) == Some("/"));
    let listed = !traces.mountinfo.is_empty();
    traces.schroot || traces.root_differs == Some(true) || (listed && !has_root)
}

/// `docker-default (enforce)` is the profile `docker-default`; `unconfined` and SELinux's contexts are none.
fn apparmor_profile(label: &str) -> Option<String> {
    let (profile, mode) = label.rsplit_once(" (")?;
    (mode == "enforce)" || mode == "kill)").then(|| profile.to_owned())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An ordinary user's shell on a machine without systemd.
    pub(in crate::host) fn plain() -> Traces {
        Traces {
            mountinfo: "27 1 254:0 / / rw - ext4 /dev/vda rw\n".to_owned(),
            status: "Name:\tx\nNoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n".to_owned(),
            cgroup: "0::/\n".to_owned(),
            version: "Linux version 6.12.0".to_owned(),
            uid_map: "         0          0 4294967295\n".to_owned(),
            dumpable: true,
            uid: 1000,
            program: PathBuf::from("/usr/bin/sandbox"),
            ..Traces::default()
        }
    }

    pub(in crate::host) fn docker(traces: &mut Traces) {
        traces.dockerenv = true;
        traces.mountinfo = "500 400 0:50 / / rw - overlay overlay rw\n\
             510 500 8:1 /var/lib/docker/containers/0a/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
            .to_owned();
    }

    fn kind_of(change: impl FnOnce(&mut Traces)) -> PlaceKind {
        let mut traces = plain();
        change(&mut traces);
        Place::told_by(&traces).kind
    }

    #[test]
    fn every_place_is_known_by_its_traces() {
        assert_eq!(kind_of(|_| ()), PlaceKind::Plain);
        assert_eq!(kind_of(docker), PlaceKind::Docker);
        assert_eq!(kind_of(|t| t.container = "docker".into()), PlaceKind::Docker);
        // A virtual machine's disk that was made from an image.
        assert_eq!(kind_of(|t| t.dockerenv = true), PlaceKind::Plain);
        assert_eq!(kind_of(|t| t.cgroup = "12:pids:/docker/0123abc\n".into()), PlaceKind::Docker);
        assert_eq!(kind_of(|t| t.containerenv = true), PlaceKind::Podman);
        assert_eq!(kind_of(|t| t.container = "podman".into()), PlaceKind::Podman);
        assert_eq!(kind_of(|t| t.container = "lxc".into()), PlaceKind::Lxc);
        assert_eq!(kind_of(|t| t.cgroup = "0::/lxc.payload.web/x\n".into()), PlaceKind::Lxc);
        let nspawn = PlaceKind::Container("systemd-nspawn".into());
        assert_eq!(kind_of(|t| t.container = "systemd-nspawn".into()), nspawn);
        assert_eq!(kind_of(|t| t.github_actions = true), PlaceKind::GithubActions);
        assert_eq!(kind_of(|t| t.version = "Linux version 6.6.87.2-microsoft-standard-WSL2".into()), PlaceKind::Wsl2);
        let session = "0::/user.slice/user-1000.slice/session-3.scope\n";
        assert_eq!(kind_of(|t| t.cgroup = session.into()), PlaceKind::Session("session-3.scope".into()));
        let service = "0::/system.slice/judge.service\n";
        assert_eq!(kind_of(|t| t.cgroup = service.into()), PlaceKind::Service("judge.service".into()));
        let hybrid = "4:memory:/\n1:name=systemd:/system.slice/judge.service\n0::/\n";
        assert_eq!(kind_of(|t| t.cgroup = hybrid.into()), PlaceKind::Service("judge.service".into()));
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-term.scope\n";
        assert_eq!(kind_of(|t| t.cgroup = user.into()), PlaceKind::UserManager);
        assert_eq!(kind_of(|t| t.mountinfo = "30 27 0:5 / /proc rw - proc proc rw\n".into()), PlaceKind::Chroot);
        assert_eq!(kind_of(|t| t.root_differs = Some(true)), PlaceKind::Chroot);
        assert_eq!(kind_of(|t| t.schroot = true), PlaceKind::Chroot);
        // Nothing could be read: no /proc is no chroot.
        assert_eq!(kind_of(|t| t.mountinfo.clear()), PlaceKind::Plain);
    }

    #[test]
    fn the_more_specific_place_wins() {
        let pod = |t: &mut Traces| {
            docker(t);
            t.kubernetes = true;
        };
        assert_eq!(kind_of(pod), PlaceKind::Kubernetes);
        let job_container = |t: &mut Traces| {
            docker(t);
            t.github_actions = true;
        };
        assert_eq!(kind_of(job_container), PlaceKind::Docker);
        let docker_on_wsl = |t: &mut Traces| {
            t.version = "Linux version 6.6.87.2-microsoft-standard-WSL2".into();
            docker(t);
        };
        assert_eq!(kind_of(docker_on_wsl), PlaceKind::Docker);
    }

    #[test]
    fn a_filter_that_no_container_explains_is_a_sandbox() {
        let mut traces = plain();
        traces.status = "NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n".to_owned();
        assert!(Place::told_by(&traces).inside_a_sandbox());
        docker(&mut traces);
        assert!(!Place::told_by(&traces).inside_a_sandbox());
        assert!(Place::told_by(&traces).filtered);
    }

    #[test]
    fn security_labels_and_id_maps_are_understood() {
        assert_eq!(apparmor_profile("docker-default (enforce)"), Some("docker-default".to_owned()));
        assert_eq!(apparmor_profile("a b (c) (enforce)"), Some("a b (c)".to_owned()));
        assert_eq!(apparmor_profile("unconfined"), None);
        assert_eq!(apparmor_profile("x (complain)"), None);
        assert_eq!(apparmor_profile("system_u:system_r:container_t:s0"), None);
        let mut traces = plain();
        assert!(!Place::told_by(&traces).lone_id);
        traces.uid_map = "         0       1000          1\n".to_owned();
        assert!(Place::told_by(&traces).lone_id);
        traces.uid_map.clear();
        assert!(Place::told_by(&traces).unmapped);
        traces.status.clear();
        assert!(!Place::told_by(&traces).unmapped);
    }
}
