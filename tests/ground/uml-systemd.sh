#!/bin/sh
# The first process in User-Mode Linux where systemd is to be: makes the place, becomes systemd, whose one service
# runs the command and powers off.
#   $1: as in uml-init.sh
#   $2: run, in that service
. "${0%/*}/uml-common.sh"

# All that is written goes to memory: systemd writes to /etc and /var where it likes, and this is the host's.
# But what goes to /var/tmp goes there, as without systemd: so come the results.
overlay() {
    mkdir "$box/overlay"
    mount -t tmpfs tmpfs "$box/overlay"
    cd "$box/overlay"
    mkdir upper work root
    mount -t overlay -o "lowerdir=/,upperdir=upper,workdir=work" overlay root
    cd root
    mount --bind /var/tmp var/tmp
    mount -t tmpfs -o mode=755 tmpfs run
    mkdir -m 1777 run/tmp
    mkdir -m 755 run/old
}

# Bridges and iptables: the kernel asks /sbin/modprobe for their modules. It has no nf_tables for IPv4.
networks() {
    mkdir -p usr/lib/modules
    ln -s "/usr/lib/uml/modules/$(uname -r)" usr/lib/modules/
    test -e usr/sbin/modprobe || ln -s "$(command -v busybox)" usr/sbin/modprobe
    for name in iptables ip6tables; do
        for also in "" -save -restore; do
            ln -sf "/usr/sbin/$name-legacy$also" "etc/alternatives/$name$also"
        done
    done
}

# Of the host's units the targets, slices and the bus. The others make a boot slow, or touch what is not theirs.
units() {
    mount -t tmpfs -o mode=755 tmpfs etc/systemd
    mkdir etc/systemd/system etc/systemd/user
    # It waits 90 s for a process that ignores SIGTERM.
    printf '[Manager]\nDefaultTimeoutStopSec=5s\n' >etc/systemd/system.conf
    for kind in system user; do
        if test -d "usr/lib/systemd/$kind-generators"; then
            mount -t tmpfs -o mode=755 tmpfs "usr/lib/systemd/$kind-generators"
        fi
        mount -t tmpfs -o mode=755 tmpfs "usr/lib/systemd/$kind"
        (cd "/usr/lib/systemd/$kind" && cp ./*.target ./*.slice "$box/overlay/root/usr/lib/systemd/$kind")
    done
    cp /usr/lib/systemd/system/dbus.service /usr/lib/systemd/system/dbus.socket usr/lib/systemd/system
    cp /usr/lib/systemd/user/systemd-exit.service usr/lib/systemd/user
    cat >etc/systemd/system/ground.service <<END
[Unit]
Wants=dbus.service
After=dbus.service
[Service]
ExecStart=/bin/sh $0 $box run
END
}

# What `systemctl start user@UID` starts, without PAM and logind, and a bus as dbus-user-session has it.
user_managers() {
    cat >etc/systemd/system/user@.service <<'END'
[Service]
Type=notify
User=%i
Slice=user-%i.slice
Delegate=yes
KillMode=mixed
TasksMax=infinity
RuntimeDirectory=user/%i
Environment=XDG_RUNTIME_DIR=/run/user/%i DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/%i/bus
ExecStart=/lib/systemd/systemd --user --unit=dbus.socket
END
    cat >etc/systemd/user/dbus.socket <<'END'
[Socket]
ListenStream=%t/bus
END
    cat >etc/systemd/user/dbus.service <<'END'
[Unit]
Requires=dbus.socket
[Service]
Type=notify
ExecStart=/usr/bin/dbus-daemon --session --address=systemd: --nofork --nopidfile --systemd-activation
END
}

prepare() {
    set -e
    load_modules
    overlay
    networks
    : >etc/fstab
    echo uml >etc/hostname
    units
    user_managers
    pivot_root . run/old
}

if test "$2" = run; then
    run_command
    power_off
fi
# In a subshell, because `set -e` means nothing in a function under `if`.
(prepare)
if test $? = 0; then
    cd /
    umount -l /run/old
    exec /lib/systemd/systemd --system --unit=ground.service --log-target=console --log-level=warning --show-status=no
fi
mount -t proc proc /proc
power_off
