# As root on plain v2: a group of our own at the top, and a payload that is nobody on the host.
# kernels: 6.1 6.12 7
mount -t cgroup2 none /sys/fs/cgroup
check root
mechanism memory 'cgroup2 memory.max'
report root true
code 0
mechanism memory 'cgroup2 memory.max'
mechanism cpu_time 'cgroup2 cpu.stat'
mechanism processes 'cgroup2 pids.max'
has '"id_map":"fixed"'
trials root behaviour root::root:: root::limits::memory root::limits::cpu_time root::limits::a_process_limit
trials root attacks root::escape_
