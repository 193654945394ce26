#!/bin/sh
# Shows what a container is from inside; in the image as /bin/show.
id
pwd
hostname
umask
ulimit -a
env | sort
grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap)' /proc/self/status
cat /proc/self/oom_score_adj /proc/self/cgroup /proc/self/uid_map /proc/self/gid_map /proc/self/attr/current
for kind in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$kind; done
sysctl net.ipv4.ip_forward kernel.msgmax kernel.domainname net.ipv4.ping_group_range net.ipv4.ip_unprivileged_port_start
ls /proc/self/fd /sys/class/net
ls -ln /dev /dev/ | awk '{ print $1, $3, $4, $NF }'
ls -ldn / /etc/hosts /etc/hostname /dev/pts /dev/shm /proc /sys /sys/fs/cgroup | awk '{ print $1, $3, $4, $NF }'
ls /sys/fs/cgroup | wc -l
cat /etc/hosts
# Docker sorts volumes by nothing.
awk '{ $1 = $2 = $3 = ""; print }' /proc/self/mountinfo | sort
echo "end of show"
