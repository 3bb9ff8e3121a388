# User namespaces forbidden by each sysctl: a clear refusal, and a hint that mends it when done word for word.
# kernels: 6.1 6.12 7
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /etc/sysctl.d
echo 0 >/proc/sys/user/max_user_namespaces
for who in user root; do
	plain $who true
	code 125
	told 'sandbox: cannot make a user namespace: '
	told 'user.max_user_namespaces is 0'
	told '(ENOSPC)'
	report $who true
	code 125
	has '"status":"sandbox-failed"'
done
check user
has '"verdict":"cannot"'
plain user true
mend
plain user true
code 0

if [ -e /proc/sys/kernel/unprivileged_userns_clone ]; then
	echo 0 >/proc/sys/kernel/unprivileged_userns_clone
	plain user true
	code 125
	told 'sandbox: cannot make a user namespace: kernel.unprivileged_userns_clone is 0 (EPERM)'
	mend
	plain user true
	code 0
else
	say 'this kernel has no kernel.unprivileged_userns_clone'
fi
echo 1 >/proc/sys/user/max_user_namespaces
plain user true
code 0
