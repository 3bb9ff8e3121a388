# /proc masked as Docker and Kubernetes mask it, where the kernel refuses a fresh one.
# kernels: 6.1 6.12 7
mount -t cgroup2 none /sys/fs/cgroup
for path in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do
	test ! -e $path || mount --bind /dev/null $path
done
for path in /proc/acpi /proc/scsi /sys/firmware; do
	test ! -d $path || mount -t tmpfs -o ro none $path
done
for path in /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger; do
	test ! -e $path || mount --bind $path $path
	test ! -e $path || mount -o remount,bind,ro $path
done
for who in user root; do
	report $who true
	code 0
	has '"proc":"synthetic"'
done
check user
has '"verdict":"weaker"'
trials user behaviour user::environment:: user::streams:: user::exit_codes::
trials user attacks user::escape_proc user::escape_other user::leak_processes
trials user behaviour user::limits::memory user::limits::cpu_time
