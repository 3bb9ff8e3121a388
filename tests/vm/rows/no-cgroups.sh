# No cgroup file system at all, as in a chroot or a minimal container.
# kernels: 6.1
check user
mechanism memory polling
report user true
code 0
mechanism memory polling
mechanism cpu_time 'wait4 and polling'
mechanism processes RLIMIT_NPROC
plain user --require kernel-limits true
code 125
told 'hint: '
report root true
code 0
mechanism processes RLIMIT_NPROC
trials root behaviour root::limits::a_process_limit root::limits::memory
