# Landlock is not started: the first wall alone must hold against the same attacks, and the report says what is missing.
# kernels: 6.1 6.12 7
# boot: lsm=yama
mount -t cgroup2 none /sys/fs/cgroup
delegate user.slice/user-1000.slice/user@1000.service '+memory +pids +cpu'
check user
has '"landlock_abi":0'
report user true
code 0
has '"landlock_abi":null'
has 'Landlock'
trials user attacks user::escape_ user::leak_
trials user behaviour user::files::
