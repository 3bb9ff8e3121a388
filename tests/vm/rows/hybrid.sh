# v1 controllers with v2 beside them for cpu.stat, kill and freeze, as systemd mounted them from 2017 to 2021; as root.
# kernels: 6.1 6.12 7
mount_v1
mkdir /sys/fs/cgroup/unified
mount -t cgroup2 none /sys/fs/cgroup/unified
if v1 memory; then memory='cgroup1 memory.limit_in_bytes'; else memory='cgroup2 memory.max'; fi
check root
mechanism memory "$memory"
report root true
code 0
mechanism memory "$memory"
mechanism cpu_time 'cgroup2 cpu.stat'
mechanism processes 'cgroup1 pids.max'
trials root behaviour root::limits::memory root::limits::cpu_time root::limits::a_fork_bomb root::limits::kernel_limits
