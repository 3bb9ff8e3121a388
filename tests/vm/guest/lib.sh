# What rows are written with. Each check tells one line, `pass: WORDS` or `FAIL: WORDS`.

export SANDBOX_TEST_BINARY=/usr/bin/sandbox

pass() { echo "pass: $*"; }

fail() {
	echo "FAIL: $*"
	for file in /tmp/report /tmp/errors; do
		test ! -s $file || sed 's/^/    /' $file
	done
}

# root WORDS…, user WORDS…: as uid 0 and as uid 1000, in the cgroup $GROUP where the row sets one.
root() { within env "$@"; }
user() { within su -s /usr/bin/env -- user "$@"; }
within() { sh -c 'for group in $GROUP; do echo 0 >"$group/cgroup.procs" || exit 99; done; exec "$@"' sh "$@"; }

# report WHO WORDS…: `sandbox run --json WORDS…`, kept for the checks that follow.
report() {
	subject="$*"
	who=$1
	shift
	(cd /tmp && $who sandbox run --json --dir none "$@") >/tmp/report 2>/tmp/errors
	code=$?
}

# plain WHO WORDS…: without --json.
plain() {
	subject="$*"
	who=$1
	shift
	(cd /tmp && $who sandbox run --dir none "$@") >/tmp/report 2>/tmp/errors
	code=$?
}

# check WHO: `sandbox check --json`, brought into the form of a report.
check() {
	subject="$1 check"
	(cd /tmp && $1 sandbox check --json) 2>/tmp/errors >/tmp/check
	code=$?
	tr -d '\n' </tmp/check | sed 's/": /":/g; s/\([,[{]\)  */\1/g; s/  *\([]}]\)/\1/g' >/tmp/report
}

# code N: the exit code.
code() { if [ $code -eq $1 ]; then pass "$subject: code $1"; else fail "$subject: code $code, not $1"; fi; }

# has TEXT: the report says so.
has() { if grep -qF -e "$1" /tmp/report; then pass "$subject: $1"; else fail "$subject: not $1"; fi; }

# told TEXT: stderr says so.
told() { if grep -qF -e "$1" /tmp/errors; then pass "$subject: told $1"; else fail "$subject: stderr lacks $1"; fi; }

# mechanism LIMIT WORDS: who enforces it.
mechanism() {
	if grep -q "\"limit\":\"$1\",\"value\":[^,]*,\"mechanism\":\"$2\"" /tmp/report; then
		pass "$subject: $1 by $2"
	else
		fail "$subject: $1 is not by $2"
	fi
}

# trials WHO PROGRAM FILTER…: those tests whose names hold one of the words.
trials() {
	who=$1 program=$2
	shift 2
	grep -qw quick /proc/cmdline && return
	for filter; do
		echo "trials of $program, $who, '$filter', at $(cut -d' ' -f1 /proc/uptime) s"
		$who /tests/$program "$filter" --color never --test-threads=1 || echo "trials: ended with $?"
	done
}

# delegate GROUP CONTROLLERS: on v2, what systemd does for `user@1000.service`; leaves $GROUP as a service below it.
delegate() {
	path=
	for part in $(echo "$1" | tr / ' '); do
		echo "$2" >/sys/fs/cgroup$path/cgroup.subtree_control
		path=$path/$part
		mkdir /sys/fs/cgroup$path
	done
	top=/sys/fs/cgroup$path
	echo "$2" >$top/cgroup.subtree_control
	for leaf in init.scope app.slice app.slice; do mkdir -p $top/$leaf; done
	echo "$2" >$top/app.slice/cgroup.subtree_control
	mkdir $top/app.slice/shell.service
	chown -R user:user $top/init.scope $top/app.slice
	chown user:user $top $top/cgroup.procs $top/cgroup.threads $top/cgroup.subtree_control
	GROUP=$top/app.slice/shell.service
	export GROUP
}

# mend: does what the hint on stderr says, as root and word for word.
mend() {
	hint=$(sed -n '/^hint: /,$s/^\(hint:\|     \) //p' /tmp/errors)
	if [ -n "$hint" ] && (eval "$hint") >/tmp/report 2>/tmp/errors; then
		pass "$subject: mended by: $hint"
	else
		fail "$subject: the hint cannot be done: ${hint:-there is none}"
	fi
}

# say WORDS…: something that whoever reads the result should know.
say() { echo "say: $*"; }

# mount_v1: cgroups as systemd mounted them before v2, and `v1 CONTROLLER` says whether this kernel still has it there.
mount_v1() {
	mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup
	for controllers in memory pids cpuset cpu,cpuacct; do
		mkdir /sys/fs/cgroup/$controllers
		if ! mount -t cgroup -o $controllers none /sys/fs/cgroup/$controllers 2>/dev/null; then
			rmdir /sys/fs/cgroup/$controllers
			say "this kernel has no v1 $controllers controller"
		fi
	done
	ln -s cpu,cpuacct /sys/fs/cgroup/cpu
	ln -s cpu,cpuacct /sys/fs/cgroup/cpuacct
}

v1() { test -e /sys/fs/cgroup/$1/tasks; }
