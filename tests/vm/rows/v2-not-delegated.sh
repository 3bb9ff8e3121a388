# The common case in containers and CI: v2 is there, and nothing of it is ours.
# kernels: 6.1 6.12 7
mount -t cgroup2 none /sys/fs/cgroup
echo '+memory +pids +cpu' >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/user.slice/session-1.scope
export GROUP=/sys/fs/cgroup/user.slice/session-1.scope
check user
mechanism memory polling
has 'systemd-run --user --scope'
report user true
mechanism memory polling
mechanism cpu_time 'wait4 and polling'
mechanism processes RLIMIT_NPROC
trials user behaviour limits::
trials user attacks resource_
