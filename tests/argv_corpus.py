"""Command lines for both parsers: for the lean one, for click alone, for help, and wrong ones."""

# What callers really send (SHIM: containerd), and the spellings of Go's flag package. The lean parser takes each.
FAST = r"""
SHIM create --bundle /b --pid-file /b/init.pid id
SHIM --systemd-cgroup create --bundle /b --pid-file /b/p --console-socket /s id
SHIM create --bundle /b --pid-file /b/p --no-pivot --no-new-keyring --preserve-fds 2 id
SHIM start id
SHIM exec --process /tmp/process1 --console-socket /s --detach --pid-file /b/e.pid id
SHIM exec --process /tmp/process1 --detach --pid-file /b/e.pid id
SHIM kill id 9
SHIM kill --all id 9
SHIM delete id
SHIM delete --force id
SHIM ps --format json id
SHIM pause id
SHIM resume id
--root /r --debug --log /b/log.json --log-format json --rootless=true state id
--root /r --debug --log /b/log.json --log-format json --rootless=false state id
--systemd-cgroup create --bundle /b --pid-file /p --no-pivot --preserve-fds 1 --console-socket /s id
--log-format=json --log /run/oci-log create --bundle /b --pid-file /p id
--log-format=json --log /run/oci-log exec --pid-file /p --process /spec --detach id
SHIM update --resources=- id
--systemd-cgroup --root /r update --resources - id
update --resources /f id
update -r - id
update id -r=- --l3-cache-schema L3:0=f --mem-bw-schema=MB:0=20
update id
update --blkio-weight 10 --pids-limit 0 id
update id --memory 64m --memory-swap -1 --memory-reservation=32M
update --cpu-period 100000 --cpu-quota=-1 --cpu-burst 0 --cpu-share 1024 --cpu-idle 1 id
update -cpu-rt-period 1 -cpu-rt-runtime 1 -cpuset-cpus 0-3 -cpuset-mems 0 id
update --kernel-memory 1 --kernel-memory-tcp 1 id
update --memory '' id
features
list
list --format=json
list --format json
list -f json -q
list --quiet
list -quiet
list --quiet=true
list --quiet=false
list -q=0
list -q=F
list --q
list --f table
spec
spec --rootless
spec --bundle /b
spec -b=/b --rootless
spec -rootless -bundle /b
state id
-- state id
state -- id
state -- -id
state ''
state -
state id --
pause -- --root
run id
run -d id
run -d --keep id
run -d --pid-file /p id
run id -d
run id -d --keep
run id --bundle /b
run id -b /b --detach --pid-file=/p
run --bundle /b id
run --bundle=/b id
run -b /b id
run -b=/b id
run -bundle /b id
run -bundle=/b id
run --b /b id
run --bundle= id
run --bundle '' id
run --bundle == id
run --bundle=a=b id
run --bundle --keep id
run --bundle -- id
run --pid-file -1 id
run --bundle /a --bundle /b id
run -b /a --bundle /b id
run --bundle /a id -b /b
run --detach=true id
run --detach=1 id
run --detach=T id
run --detach=false id
run --detach --detach=false id
run --detach=false --detach id
run -no-subreaper id
run --no-subreaper --no-pivot --no-new-keyring --keep id
run -no-pivot=TRUE id
run --preserve-fds 0 id
run --preserve-fds 12 id
run --preserve-fds=3 --preserve-fds 4 id
run -preserve-fds=3 id
run --console-socket /s --pidfd-socket /t id
create id --pid-file /p
create --no-subreaper id
create -pid-file /p -console-socket /c -pidfd-socket /d id
create -- id
kill id
kill id KILL
kill id SIGTERM
kill id 0
kill -a id 9
kill id --all 9
kill id 9 -a
kill id 9 --all=false
kill --all=true id
kill -- id -9
delete -f id
delete id --force
delete -force id
delete --force=false id
exec id ls
exec id ls -l /
exec id ls --help
exec id -t sh
exec id -- ls
exec -- id ls
exec -- id -- ls
exec id sh -c 'echo "$1"; exit 3'
exec id ''
exec id --env A=1 env
exec -t id sh
exec -t -d id sh
exec --tty=false id sh
exec --env A=1 id env
exec -e A=1 -e B=2 --env C=3 id env
exec -e A=1 --env=A=2 id env
exec -e= id env
exec -e '' -e=X id env
exec -u 1000 id id
exec --user 1000:1000 -g 1 -g 2 --additional-gids 3 id id
exec --additional-gids=0 id id
exec --cap CAP_KILL -c CAP_SYS_ADMIN id true
exec --cwd /tmp id pwd
exec --cwd=/tmp --cwd=/ id pwd
exec --no-new-privs id true
exec --no-new-privs=false id true
exec --no-new-privs --no-new-privs=false id true
exec --apparmor p --process-label l id true
exec --cgroup a --cgroup b id true
exec --ignore-paused id true
exec --preserve-fds 1 id true
exec --process /p id
exec -p /p id
exec -p=/p -d id
exec --pid-file '' id true
run --config /c.json id
create -f c.json -b b id
delete --regex ^a
delete -f -r a
kill -r ^a 9
kill --regex=false id
--log-level error list
--log-level=debug list
--log-level '' list
--log journald:x list
spec -f other.json
mounts add id mounts.json
mounts remove id -
ps id
ps id -ef
ps id -e -o pid,cmd
ps id --format json
ps id aux
ps id -- -ef
ps -f json id
ps --format=table id -x
ps id -o pid,comm
ps id -e -x
events id
events --stats id
events --interval=5s --stats id
events --interval=1s id
events --interval 100ms id
events -interval 1m30s id
events id --interval 1.5s --stats=false
events --interval 1h0.5m.5s1us2µs3μs4ns id
events --interval 0 id
events --interval -1s id
events --interval +.5h id
events --interval 2562047h47m16.854775807s id
--debug list
-debug list
--debug=false list
--debug=true --debug=0 list
--root=/r list
-root /r list
--root . list
--root ./a/../b list
--root /a/./b//c/ list
--root ../../x list
--root //x list
--log= list
--log '' list
--log --debug list
--log-format '' list
--log-format text list
--rootless auto list
--rootless=AUTO list
--rootless '' list
--rootless 1 list
--systemd-cgroup=false list
--cgroup-manager=cgroupfs list
--cgroup-manager disabled create id
-cgroup-manager systemd --systemd-cgroup list
--systemd-cgroup list
""".replace("SHIM", "--root /run/containerd/runc/k8s.io --log /b/log.json --log-format json")

# Right, but in a spelling that only click judges, and the number it is.
SLOW = {
    "run --preserve-fds 0x10 id": 16,
    "run --preserve-fds 0b1 id": 1,
    "run --preserve-fds 0o17 id": 15,
    "run --preserve-fds 017 id": 15,
    "run --preserve-fds +3 id": 3,
    "run --preserve-fds -3 id": -3,
    "run --preserve-fds=-0 id": 0,
    "run --preserve-fds 9223372036854775807 id": 2**63 - 1,
    "exec -g 010 id true": 10,
    "exec -g -5 id true": -5,
    "exec -g=+7 id true": 7,
    "update --pids-limit -1 id": -1,
    "update --pids-limit=0x10 id": 16,
    "update --blkio-weight +10 id": 10,
}

# Help and the version: click prints them.
HELP = r"""

-h
--help
-help
--h
help
h
help create
h create
help help
help -h
help --help
-h foo
--debug -h
--root /r
--debug help exec
create -h
create --help
create -help
create id --help
run -d -h id
run --help a b c
exec --help
exec -h id ls
start -h
state -h
kill -h
delete -h
list -h
ps -h
events -h
events --interval 1s --help
pause -h
resume -h
update -h
update id --help
spec -h
features -h
-v
-?
run -?
--version
-V
-version
--v
--debug -v list
-v -h
"""

# Wrong: click says why. The message as callers see it.
WRONG = {
    "foo": "No help topic for 'foo'",
    "-": "No help topic for '-'",
    "''": "No help topic for ''",
    "foo -h": "No help topic for 'foo'",
    "help foo": "No help topic for 'foo'",
    "--debug foo": "No help topic for 'foo'",
    "-- foo": "No help topic for 'foo'",
    "-- --debug": "No help topic for '--debug'",
    "CREATE id": "No help topic for 'CREATE'",
    "creat id": "No help topic for 'creat'",
    "init": "No help topic for 'init'",
    "checkpoint --help": "checkpoint is not supported: minirunc does not use CRIU",
    "checkpoint --image-path /i --leave-running id": "checkpoint is not supported: minirunc does not use CRIU",
    "help restore": "restore is not supported: minirunc does not use CRIU",
    "restore -no-subreaper id": "restore is not supported: minirunc does not use CRIU",
    "--log-level info list": "invalid value for --log-level: info (error, warning or debug)",
    "-x": "flag provided but not defined: -x",
    "--foo list": "flag provided but not defined: -foo",
    "--foo=bar list": "flag provided but not defined: -foo",
    "--deb list": "flag provided but not defined: -deb",
    "--bundle /b run id": "flag provided but not defined: -bundle",
    "list --root /r": "flag provided but not defined: -root",
    "list --debug": "flag provided but not defined: -debug",
    "list -fq": "flag provided but not defined: -fq",
    "exec -td id sh": "flag provided but not defined: -td",
    "exec -it id sh": "flag provided but not defined: -it",
    "exec -eA=1 id sh": "flag provided but not defined: -eA",
    "run --detac id": "flag provided but not defined: -detac",
    "run -D id": "flag provided but not defined: -D",
    "run id --foo": "flag provided but not defined: -foo",
    "kill id -9": "flag provided but not defined: -9",
    "state --format json id": "flag provided but not defined: -format",
    "create --detach id": "flag provided but not defined: -detach",
    "---debug list": "bad flag syntax: ---debug",
    "--=x list": "bad flag syntax: --=x",
    "-=x list": "bad flag syntax: -=x",
    "run -= id": "bad flag syntax: -=",
    "run ---keep id": "bad flag syntax: ---keep",
    "--root": "flag needs an argument: -root",
    "--log": "flag needs an argument: -log",
    "run --bundle": "flag needs an argument: -bundle",
    "run id -b": "flag needs an argument: -bundle",
    "exec -e": "flag needs an argument: -env",
    "exec -g": "flag needs an argument: -additional-gids",
    "run --detach= id": 'invalid boolean value "" for -detach: parse error',
    "run --detach=yes id": 'invalid boolean value "yes" for -detach: parse error',
    "run -d=2 id": 'invalid boolean value "2" for -detach: parse error',
    "run --keep=tRUE id": 'invalid boolean value "tRUE" for -keep: parse error',
    "--debug=on list": 'invalid boolean value "on" for -debug: parse error',
    "run --preserve-fds x id": 'invalid value "x" for flag -preserve-fds: parse error',
    "run --preserve-fds '' id": 'invalid value "" for flag -preserve-fds: parse error',
    "run --preserve-fds 1.5 id": 'invalid value "1.5" for flag -preserve-fds: parse error',
    "run --preserve-fds ' 1' id": 'invalid value " 1" for flag -preserve-fds: parse error',
    "run --preserve-fds ٣ id": 'invalid value "٣" for flag -preserve-fds: parse error',
    "run --preserve-fds 1_000 id": 'invalid value "1_000" for flag -preserve-fds: parse error',
    "run --preserve-fds 0x_1 id": 'invalid value "0x_1" for flag -preserve-fds: parse error',
    "run --preserve-fds 08 id": 'invalid value "08" for flag -preserve-fds: parse error',
    "run --preserve-fds 0x id": 'invalid value "0x" for flag -preserve-fds: parse error',
    "run --preserve-fds -- id": 'invalid value "--" for flag -preserve-fds: parse error',
    "run --preserve-fds 9223372036854775808 id": (
        'invalid value "9223372036854775808" for flag -preserve-fds: parse error'
    ),
    "exec -g 0x10 id true": 'invalid value "0x10" for flag -additional-gids: parse error',
    "exec -g 1,2 id true": 'invalid value "1,2" for flag -additional-gids: parse error',
    "exec -g 1_0 id true": 'invalid value "1_0" for flag -additional-gids: parse error',
    "events --interval 5 id": 'invalid value "5" for flag -interval: parse error',
    "events --interval '' id": 'invalid value "" for flag -interval: parse error',
    "events --interval s id": 'invalid value "s" for flag -interval: parse error',
    "events --interval . id": 'invalid value "." for flag -interval: parse error',
    "events --interval .s id": 'invalid value ".s" for flag -interval: parse error',
    "events --interval - id": 'invalid value "-" for flag -interval: parse error',
    "events --interval 1.2.3s id": 'invalid value "1.2.3s" for flag -interval: parse error',
    "events --interval 1d id": 'invalid value "1d" for flag -interval: parse error',
    "events --interval '1 s' id": 'invalid value "1 s" for flag -interval: parse error',
    "events --interval 1s1 id": 'invalid value "1s1" for flag -interval: parse error',
    "events --interval ١s id": 'invalid value "١s" for flag -interval: parse error',
    "events --interval 2562047h47m16.854775808s id": (
        'invalid value "2562047h47m16.854775808s" for flag -interval: parse error'
    ),
    "events --interval": "flag needs an argument: -interval",
    "events --stats=2 id": 'invalid boolean value "2" for -stats: parse error',
    "events": 'minirunc: "events" requires exactly 1 argument(s)',
    "events a b": 'minirunc: "events" requires exactly 1 argument(s)',
    "state": 'minirunc: "state" requires exactly 1 argument(s)',
    "state a b": 'minirunc: "state" requires exactly 1 argument(s)',
    "state --": 'minirunc: "state" requires exactly 1 argument(s)',
    "create": 'minirunc: "create" requires exactly 1 argument(s)',
    "run -d": 'minirunc: "run" requires exactly 1 argument(s)',
    "run id sh": 'minirunc: "run" requires exactly 1 argument(s)',
    "run --detach false id": 'minirunc: "run" requires exactly 1 argument(s)',
    "start a b": 'minirunc: "start" requires exactly 1 argument(s)',
    "create id -- --keep": 'minirunc: "create" requires exactly 1 argument(s)',
    "update": 'minirunc: "update" requires exactly 1 argument(s)',
    "update a b": 'minirunc: "update" requires exactly 1 argument(s)',
    "update --memory": "flag needs an argument: -memory",
    "update --pids-limit max id": 'invalid value "max" for flag -pids-limit: parse error',
    "update --blkio-weight 1.5 id": 'invalid value "1.5" for flag -blkio-weight: parse error',
    "update --devices x id": "flag provided but not defined: -devices",
    "mounts add id": 'minirunc: "mounts" requires exactly 3 argument(s)',
    "list x": 'minirunc: "list" requires exactly 0 argument(s)',
    "spec x": 'minirunc: "spec" requires exactly 0 argument(s)',
    "features x": 'minirunc: "features" requires exactly 0 argument(s)',
    "kill": 'minirunc: "kill" requires a minimum of 1 argument(s)',
    "kill a b c": 'minirunc: "kill" requires a maximum of 2 argument(s)',
    "exec": 'minirunc: "exec" requires a minimum of 1 argument(s)',
    "exec -t": 'minirunc: "exec" requires a minimum of 1 argument(s)',
    "ps": 'minirunc: "ps" requires a minimum of 1 argument(s)',
    "ps -f json": 'minirunc: "ps" requires a minimum of 1 argument(s)',
    "--root / list": "Option --root argument should not be set to /",
    "--root '' list": "Option --root argument should not be set to /",
    "--root= list": "Option --root argument should not be set to /",
    "--root // list": "Option --root argument should not be set to /",
    "--root /a/../.. list": "Option --root argument should not be set to /",
    "--log-format xml list": "invalid log-format: xml",
    "--cgroup-manager fs list": "invalid value for --cgroup-manager: fs (cgroupfs, systemd, disabled)",
    "--systemd-cgroup --cgroup-manager disabled list": (
        "--systemd-cgroup and --cgroup-manager disabled cannot go together"
    ),
    "--log-format JSON list": "invalid log-format: JSON",
    "--rootless maybe list": "invalid value for --rootless: maybe (true, false or auto)",
    "--log-format xml foo": "invalid log-format: xml",
    "--log-format xml state": "invalid log-format: xml",
}
