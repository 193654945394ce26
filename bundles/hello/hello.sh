#!/bin/sh
# Says who and where this process is, as it sees itself from inside its container.

say() { printf '  %-14s %s\n' "$1" "$2"; }

# status NAME: one line of /proc/self/status
status() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }

capabilities() {
    set -- chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable \
        net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot \
        sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease \
        audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read \
        perfmon bpf checkpoint_restore
    bits=$((0x$(status CapEff))) all=$#
    for name; do
        test $((bits & 1)) = 0 || printf '%s ' "$name"
        bits=$((bits >> 1))
    done
    echo "(of the $all there are)"
}

echo "Hello from inside a container."
echo
say process "$$, user $(id -un), $(ps -o pid | grep -c '[0-9]') processes to be seen"
say hostname "$(hostname)"
say kernel "$(uname -sr), shared with the host"
say network "$(ls /sys/class/net | xargs)"
say cgroup "$(cut -d: -f3 /proc/self/cgroup | tail -n1)"
say capabilities "$(capabilities)"
say "new ones" "$(test "$(status NoNewPrivs)" = 1 && echo 'never: no_new_privs is set' || echo 'may be gained')"
say "system calls" "$(test "$(status Seccomp)" = 2 && echo 'seven are refused: a filter is on' || echo all)"
say "root directory" "$(ls / | xargs)"
say "writing there" "$(touch /x 2>&1 || true)"
say mounts ""
awk '{ printf "    %-26s %-8s %s\n", $2, $3, substr($4, 1, 40) }' /proc/self/mounts
