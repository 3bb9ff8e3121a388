# A user below systemd's user@1000.service, with the controllers that are delegated by default.
# kernels: 6.1 6.12 7
mount -t cgroup2 none /sys/fs/cgroup
delegate user.slice/user-1000.slice/user@1000.service '+memory +pids +cpu'
check user
mechanism memory 'cgroup2 memory.max'
report user true
mechanism memory 'cgroup2 memory.max'
mechanism cpu_time 'cgroup2 cpu.stat'
mechanism processes 'cgroup2 pids.max'
trials user behaviour limits::
trials user attacks resource_
