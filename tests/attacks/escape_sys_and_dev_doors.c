// technique: /sys, cgroups, devices, and making device nodes of one's own
// layer: none of them is in the room; nodev; no capability
// expect: status=ok
#include "attack.h"
#include <sys/sysmacros.h>
int main(void) {
    MUST_FAIL(open("/sys/kernel", O_RDONLY));
    MUST_FAIL(open("/sys/fs/cgroup", O_RDONLY));
    MUST_FAIL(open("/sys/fs/cgroup/cgroup.procs", O_WRONLY));
    const char *devices[] = {"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/fuse", "/dev/kvm", "/dev/sda",
                             "/dev/vda", "/dev/loop0", "/dev/loop-control", "/dev/net/tun", "/dev/vsock", "/dev/vhost-net",
                             "/dev/userfaultfd", "/dev/bus/usb", "/dev/dri/card0", "/dev/input/event0", "/dev/mapper/control"};
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) MUST_FAIL(open(devices[i], O_RDONLY));
    for (int kind = 0; kind < 2; kind++) {
        const char *places[] = {"/box/node", "/tmp/node", "/dev/shm/node", "/dev/node"};
        for (int place = 0; place < 4; place++)
            // Character device 1:1 is /dev/mem; block devices 8:0 and 254:0 are disks.
            MUST_FAIL(mknod(places[place], (kind ? S_IFBLK : S_IFCHR) | 0600, kind ? makedev(254, 0) : makedev(1, 1)));
    }
    MUST_FAIL(mknod("/box/disk", S_IFBLK | 0600, makedev(8, 0)));
    return verdict();
}
