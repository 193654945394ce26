# What the first processes in User-Mode Linux have in common; sourced by them, with $1 as $box.
box=$1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

load_modules() {
    for module in fs/overlayfs/overlay fs/fuse/fuse drivers/net/veth drivers/block/loop; do
        busybox insmod "/usr/lib/uml/modules/$(uname -r)/kernel/$module.ko"
    done
    busybox insmod "/usr/lib/uml/modules/$(uname -r)/kernel/drivers/net/dummy.ko" numdummies=0
}

run_command() {
    : >"$box/booted"
    # TMPDIR and not /tmp: what is to be tested may itself lie below /tmp.
    TMPDIR=/run/tmp GROUND=uml setsid -w "$box/command" </dev/null >"$box/output" 2>&1
    echo $? >"$box/status"
}

power_off() {
    sync
    echo o >/proc/sysrq-trigger
    sleep 60
}
