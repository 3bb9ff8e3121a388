# Every controller on v1, and directories that an administrator gave to the user, made as the hint of `check` says.
# kernels: 6.1 6.12 7
mount_v1
for controller in memory pids cpuacct; do
	if v1 $controller; then
		mkdir -p /sys/fs/cgroup/$controller/sandbox/uid-1000
		chown user /sys/fs/cgroup/$controller/sandbox/uid-1000
	fi
done
if v1 memory; then memory='cgroup1 memory.limit_in_bytes'; else memory=polling; fi
for who in user root; do
	report $who true
	code 0
	mechanism memory "$memory"
	mechanism cpu_time 'cgroup1 cpuacct.usage'
	mechanism processes 'cgroup1 pids.max'
done
trials user behaviour user::limits::memory user::limits::cpu_time user::limits::out_of_memory
trials user attacks user::resource_memory user::resource_cpu user::resource_fork
