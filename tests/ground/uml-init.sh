#!/bin/sh
# The first process in User-Mode Linux: makes the place, runs one command, powers off.
#   $1: a directory of the host with `command`; `booted`, `output` and `status` are left there
. "${0%/*}/uml-common.sh"

prepare() {
    set -e
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
    mkdir -p /dev/pts /dev/shm
    mount -t devpts -o ptmxmode=666,mode=620,gid=5 devpts /dev/pts
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mount -t tmpfs -o mode=755 tmpfs /run
    mkdir -m 1777 /run/tmp
    ln -sfn /proc/self/fd /dev/fd
    ln -sfn /proc/self/fd/0 /dev/stdin
    ln -sfn /proc/self/fd/1 /dev/stdout
    ln -sfn /proc/self/fd/2 /dev/stderr
    hostname uml
    ip link set lo up
    mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
    echo +cpu +io +memory +pids >/sys/fs/cgroup/cgroup.subtree_control
    load_modules
}

# In a subshell, because `set -e` means nothing in a function under `if`.
(prepare)
test $? != 0 || run_command
power_off
