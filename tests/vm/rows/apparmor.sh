# AppArmor mediates user namespaces: a profile without `userns,` stands for a host that allows them by profile only, then
# what the hint says is done word for word.
# kernels: 6.12 7
# boot: apparmor=1 lsm=landlock,yama,apparmor
mount -t securityfs none /sys/kernel/security
mount -t cgroup2 none /sys/fs/cgroup
cat >/etc/apparmor.d/denied <<'PROFILE'
abi <abi/4.0>,
profile denied /usr/bin/sandbox {
	file,
	capability,
	network,
	mount,
	umount,
	pivot_root,
	signal,
	ptrace,
	unix,
}
PROFILE
apparmor_parser -r /etc/apparmor.d/denied || fail 'apparmor_parser'
plain user true
code 125
told 'AppArmor'
check user
has '"verdict":"cannot"'
plain user true
apparmor_parser -R /etc/apparmor.d/denied
rm /etc/apparmor.d/denied
mend
plain user true
code 0
