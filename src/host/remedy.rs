//! What to type, in which place: for containers the line that starts them, for systemd its units, else the command
//! itself. Only text; nothing here is run.

use super::place::{Place, PlaceKind};
use std::path::Path;

/// `path` as one word of a shell command; quoted only if it must be.
pub(super) fn words_for_a_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Lets a container make namespaces and mounts.
pub(super) fn namespaces_in_container(place: &Place) -> Option<String> {
    let options = "--security-opt seccomp=unconfined --security-opt apparmor=unconfined";
    Some(match &place.kind {
        PlaceKind::Docker if place.github_actions => format!("in the job: container: {{options: {options}}}"),
        PlaceKind::Docker => format!(
            "docker run {options} …\n\
             compose: security_opt: [\"seccomp=unconfined\", \"apparmor=unconfined\"]"
        ),
        PlaceKind::Podman if place.selinux => format!("podman run {options} --security-opt label=disable …"),
        PlaceKind::Podman => format!("podman run {options} …"),
        PlaceKind::Kubernetes => "pod: spec: {hostUsers: false}\n\
             its container: securityContext: {procMount: Unmasked, seccompProfile: {type: Unconfined}, \
             appArmorProfile: {type: Unconfined}}"
            .to_owned(),
        PlaceKind::Lxc => "on the host: lxc config set NAME security.nesting true && lxc restart NAME".to_owned(),
        PlaceKind::Container(_) => {
            "let the container make user namespaces and mounts: no seccomp filter and no AppArmor profile against it"
                .to_owned()
        }
        PlaceKind::Chroot
        | PlaceKind::GithubActions
        | PlaceKind::Wsl2
        | PlaceKind::Session(_)
        | PlaceKind::Service(_)
        | PlaceKind::UserManager
        | PlaceKind::Plain => return None,
    })
}

/// Uncovers a container's /proc, so that a fresh one may be mounted in it.
pub(super) fn uncovered_proc(place: &Place) -> String {
    match &place.kind {
        PlaceKind::Docker if place.github_actions => {
            "in the job: container: {options: --security-opt systempaths=unconfined}".to_owned()
        }
        PlaceKind::Docker => "docker run --security-opt systempaths=unconfined …\n\
             compose: security_opt: [\"systempaths=unconfined\"]"
            .to_owned(),
        PlaceKind::Podman => "podman run --security-opt unmask=ALL …".to_owned(),
        PlaceKind::Kubernetes => {
            "pod: spec: {hostUsers: false}\nits container: securityContext: {procMount: Unmasked}".to_owned()
        }
        PlaceKind::Lxc => "on the host: lxc config set NAME security.nesting true && lxc restart NAME".to_owned(),
        PlaceKind::Container(_)
        | PlaceKind::Chroot
        | PlaceKind::GithubActions
        | PlaceKind::Wsl2
        | PlaceKind::Session(_)
        | PlaceKind::Service(_)
        | PlaceKind::UserManager
        | PlaceKind::Plain => {
            "unmount what covers parts of /proc; this shows it: grep ' /proc/' /proc/self/mountinfo".to_owned()
        }
    }
}

/// An AppArmor profile that lets this program, and no other, make user namespaces.
pub(super) fn apparmor_profile(place: &Place) -> String {
    let profile =
        format!("abi <abi/4.0>,\nprofile sandbox {} flags=(unconfined) {{ userns, }}", apparmor_path(&place.program));
    let lines: Vec<String> = profile.lines().map(|line| format!("'{}'", line.replace('\'', r"'\''"))).collect();
    format!(
        "printf '%s\\n' {} | sudo tee /etc/apparmor.d/sandbox >/dev/null && \
         sudo apparmor_parser -r /etc/apparmor.d/sandbox",
        lines.join(" ")
    )
}

/// A path in a profile: in quotes, and what is a pattern there stands for itself.
fn apparmor_path(path: &Path) -> String {
    let mut quoted = String::from("\"");
    for c in path.display().to_string().chars() {
        if r#"*?[]{}^"\@"#.contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// A drop-in for the unit that we are a part of.
pub(super) fn drop_in(unit: &str, name: &str, setting: &str) -> String {
    let directory = words_for_a_shell(Path::new(&format!("/etc/systemd/system/{unit}.d")));
    let unit = words_for_a_shell(Path::new(unit));
    format!(
        "sudo mkdir -p {directory} && printf '[Service]\\n{setting}\\n' | sudo tee {directory}/{name}.conf >/dev/null && \
         sudo systemctl daemon-reload && sudo systemctl restart {unit}"
    )
}

/// A cgroup of our own in a place that has its own way to one.
pub(super) fn cgroup_of_place(place: &Place) -> Option<String> {
    let given = if place.uid == 0 { String::new() } else { format!("\n{}", give_to(place.uid)) };
    Some(match &place.kind {
        PlaceKind::Docker if place.github_actions => format!(
            "in the job: container: {{options: --cgroupns=private --security-opt writable-cgroups=true}}{given}"
        ),
        PlaceKind::Docker => format!(
            "docker run --cgroupns=private --security-opt writable-cgroups=true …   (Docker 28 or newer)\n\
             compose: cgroup: private, and security_opt: [\"writable-cgroups=true\"]{given}"
        ),
        PlaceKind::Podman => format!("podman run --cgroupns=private --security-opt unmask=ALL …{given}"),
        PlaceKind::Kubernetes => "pods see cgroups read-only; on the node, containerd 2.1 or newer: \
             cgroup_writable = true in [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]"
            .to_owned(),
        PlaceKind::Service(unit) if place.systemd => drop_in(unit, "delegate", "Delegate=yes"),
        PlaceKind::GithubActions if place.systemd && place.uid != 0 => format!(
            "sudo loginctl enable-linger \"$USER\"; export XDG_RUNTIME_DIR=/run/user/$(id -u)\n{}",
            scope(place)
        ),
        PlaceKind::Wsl2 if !place.systemd => {
            "printf '[boot]\\nsystemd=true\\n' | sudo tee -a /etc/wsl.conf >/dev/null, then in Windows: wsl --shutdown"
                .to_owned()
        }
        PlaceKind::Lxc
        | PlaceKind::Container(_)
        | PlaceKind::Chroot
        | PlaceKind::Service(_)
        | PlaceKind::GithubActions
        | PlaceKind::Wsl2
        | PlaceKind::Session(_)
        | PlaceKind::UserManager
        | PlaceKind::Plain => return None,
    })
}

/// A cgroup of our own, without which limits are enforced by our looking.
pub(super) fn cgroup(place: &Place) -> String {
    cgroup_of_place(place).unwrap_or_else(|| {
        if place.uid == 0 {
            "mount the cgroup file system: mount -t cgroup2 cgroup2 /sys/fs/cgroup; or where it is read-only: \
             mount -o remount,rw /sys/fs/cgroup"
                .to_owned()
        } else if place.systemd {
            scope(place)
        } else {
            format!("sudo {} run …", place.program_word())
        }
    })
}

/// A transient scope of the user's own systemd.
fn scope(place: &Place) -> String {
    format!("systemd-run --user --scope --quiet --collect -p Delegate=yes -- {} run …", place.program_word())
}

/// Container root hands the container's cgroup to an ordinary user.
fn give_to(uid: u32) -> String {
    format!("in it, as root: cd /sys/fs/cgroup && chown {uid} . cgroup.procs cgroup.subtree_control cgroup.threads")
}

/// Lets root in a container give its children another id.
pub(super) fn id_capabilities(place: &Place) -> String {
    match &place.kind {
        PlaceKind::Docker if place.github_actions => {
            "in the job: container: {options: --cap-add SETUID --cap-add SETGID}".to_owned()
        }
        PlaceKind::Docker => {
            "docker run --cap-add SETUID --cap-add SETGID …\ncompose: cap_add: [SETUID, SETGID]".to_owned()
        }
        PlaceKind::Podman => "podman run --cap-add SETUID --cap-add SETGID …".to_owned(),
        PlaceKind::Kubernetes => "its container: securityContext: {capabilities: {add: [SETUID, SETGID]}}".to_owned(),
        PlaceKind::Lxc
        | PlaceKind::Container(_)
        | PlaceKind::Chroot
        | PlaceKind::GithubActions
        | PlaceKind::Wsl2
        | PlaceKind::Session(_)
        | PlaceKind::Service(_)
        | PlaceKind::UserManager
        | PlaceKind::Plain => ordinary_user(place),
    }
}

/// Lets SELinux pass what it forbade.
pub(super) fn selinux(place: &Place) -> String {
    match &place.kind {
        PlaceKind::Docker => {
            "docker run --security-opt label=disable …\ncompose: security_opt: [\"label=disable\"]".to_owned()
        }
        PlaceKind::Podman => "podman run --security-opt label=disable …".to_owned(),
        PlaceKind::Kubernetes => "its container: securityContext: {seLinuxOptions: {type: spc_t}}".to_owned(),
        PlaceKind::Lxc
        | PlaceKind::Container(_)
        | PlaceKind::Chroot
        | PlaceKind::GithubActions
        | PlaceKind::Wsl2
        | PlaceKind::Session(_)
        | PlaceKind::Service(_)
        | PlaceKind::UserManager
        | PlaceKind::Plain => "sudo ausearch -m AVC -ts recent | audit2allow -M sandbox, read sandbox.te, then: \
             sudo semodule -i sandbox.pp"
            .to_owned(),
    }
}

/// Starts as an ordinary user what cannot be done as root.
pub(super) fn ordinary_user(place: &Place) -> String {
    match &place.kind {
        PlaceKind::Docker if place.github_actions => "in the job: container: {options: --user 1000:1000}".to_owned(),
        PlaceKind::Docker => "docker run --user 1000:1000 …\ncompose: user: \"1000:1000\"".to_owned(),
        PlaceKind::Podman => "podman run --user 1000:1000 …".to_owned(),
        PlaceKind::Kubernetes => "its container: securityContext: {runAsUser: 1000, runAsGroup: 1000}".to_owned(),
        PlaceKind::Lxc
        | PlaceKind::Container(_)
        | PlaceKind::Chroot
        | PlaceKind::GithubActions
        | PlaceKind::Wsl2
        | PlaceKind::Session(_)
        | PlaceKind::Service(_)
        | PlaceKind::UserManager
        | PlaceKind::Plain => format!(
            "run it as an ordinary user: setpriv --reuid=1000 --regid=1000 --clear-groups {} run …",
            place.program_word()
        ),
    }
}
