"""A resctrl for machines without RDT: a FUSE file system that answers as the kernel's does; a program of its own.

    python -m tests.ground.resctrl DIRECTORY FEATURES    e.g. L3,MB,L3_MON; serves until DIRECTORY is unmounted

What plain directories cannot do: a new group has its files at once, goes with them by rmdir and gives its tasks back, a
wrong line is refused as a whole and `info/last_cmd_status` says why, classes run out. Unlike the kernel it does not see
who is whose child. Sources: linux/fuse.h (protocol 7.31), Documentation/filesystems/resctrl.rst, fs/resctrl/.
"""

import contextlib
import os
import select
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from minirunc.kernel.syscalls import local

MASK, STEP, LEAST = 0x7FF, 10, 10  # L3 cache mask, steps and least of a memory bandwidth
CLASSES, MONITORS = 4, 6
DOMAINS = (0, 1)
EPERM, ENOENT, ESRCH, EEXIST, ENOTDIR, EINVAL, ENOSPC, ENOSYS = 1, 2, 3, 17, 20, 22, 28, 38


class Refused(OSError):
    """What the kernel would answer, and what it would write to last_cmd_status."""

    def __init__(self, errno: int, status: str = "ok") -> None:
        super().__init__(errno, status)
        self.status = status


class Model:
    """The groups, their schemata and tasks; all state there is."""

    def __init__(self, features: list[str]) -> None:
        self.features = features
        self.status = "ok"
        self.schemata: dict[str, dict[str, dict[int, int]]] = {"": self.default()}
        self.tasks: dict[str, set[int]] = {"": set()}  # by group, monitoring groups among them

    def default(self) -> dict[str, dict[int, int]]:
        """All of everything."""
        full = {"L3": MASK, "MB": 100}
        return {kind: dict.fromkeys(DOMAINS, full[kind]) for kind in full if kind in self.features}

    def group_of(self, path: str) -> str:
        """The control group of a monitoring group's path."""
        return path.partition("/mon_groups/")[0]

    def files(self) -> dict[str, str]:
        """Every file by its path."""
        found = {"/info/last_cmd_status": f"{self.status}\n"}
        info = {
            "L3": {"cbm_mask": f"{MASK:x}", "min_cbm_bits": "1", "num_closids": str(CLASSES)},
            "MB": {
                "bandwidth_gran": str(STEP),
                "min_bandwidth": str(LEAST),
                "delay_linear": "1",
                "num_closids": str(CLASSES),
            },
            "L3_MON": {"mon_features": "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes", "num_rmids": str(MONITORS)},
        }
        for kind in self.features:
            found |= {f"/info/{kind}/{name}": f"{text}\n" for name, text in info[kind].items()}
        for path, tasks in self.tasks.items():
            alive = sorted(pid for pid in tasks if Path(f"/proc/{pid}").exists())
            found[f"{path}/tasks"] = "".join(f"{pid}\n" for pid in alive)
            if "L3_MON" in self.features:
                for domain in DOMAINS:
                    found |= self.counters(f"{path}/mon_data/mon_L3_{domain:02}", domain, len(alive))
            if path in self.schemata:
                found[f"{path}/schemata"] = self.shown(path)
        return found

    def counters(self, directory: str, domain: int, tasks: int) -> dict[str, str]:
        """What is measured in a domain; one counter is not to be had there."""
        return {
            f"{directory}/llc_occupancy": f"{tasks << 12 | domain}\n",
            f"{directory}/mbm_total_bytes": f"{tasks * 1000 + domain}\n",
            f"{directory}/mbm_local_bytes": "Unavailable\n" if domain else f"{tasks * 10}\n",
        }

    def shown(self, path: str) -> str:
        """The file schemata."""
        lines = []
        for kind, values in self.schemata[path].items():
            text = ";".join(
                f"{domain}={value:x}" if kind == "L3" else f"{domain}={value}" for domain, value in values.items()
            )
            lines.append(f"{kind:>6}:{text}\n")
        return "".join(lines)

    def directories(self) -> set[str]:
        """Every directory by its path."""
        found = {"", *self.tasks}
        if "L3_MON" in self.features:
            found |= {f"{path}/mon_groups" for path in self.schemata}
        for path in self.files():
            parts = path.split("/")[:-1]
            found |= {"/".join(parts[: end + 1]) for end in range(len(parts))}
        return found

    def mkdir(self, parent: str, name: str) -> None:
        """A new group of either kind."""
        path = f"{parent}/{name}"
        if path in self.directories():
            raise Refused(EEXIST)
        if parent == "":
            if len(self.schemata) >= CLASSES:
                raise Refused(ENOSPC, "Out of CLOSIDs")
            self.schemata[path] = self.default()
        elif not parent.endswith("/mon_groups"):
            raise Refused(EPERM)
        elif len(self.tasks) >= MONITORS:
            raise Refused(ENOSPC, "Out of RMIDs")
        self.tasks[path] = set()

    def rmdir(self, path: str) -> None:
        """A group goes with those in it; the tasks go to the one above."""
        if path not in self.tasks or path == "":
            raise Refused(EPERM)
        above = "" if path in self.schemata else self.group_of(path)
        for gone in [each for each in self.tasks if f"{each}/".startswith(f"{path}/")]:
            self.tasks[above] |= self.tasks.pop(gone)
            self.schemata.pop(gone, None)

    def write(self, path: str, text: str) -> None:
        """A file; all other files cannot be written."""
        group, _, name = path.rpartition("/")
        if name == "tasks" and group in self.tasks:
            for word in text.replace(",", "\n").split():
                self.move(group, int(word))
        elif name == "schemata" and group in self.schemata:
            self.schemata[group] = self.parsed(group, text)
        else:
            raise Refused(EPERM)

    def move(self, group: str, pid: int) -> None:
        """A task into a group; into a monitoring group only from within the control group it is in."""
        if not Path(f"/proc/{pid}").exists():
            raise Refused(ESRCH, f"No task {pid}")
        if group not in self.schemata and not any(
            pid in tasks for path, tasks in self.tasks.items() if self.group_of(path) == self.group_of(group)
        ):
            raise Refused(EINVAL, "Can't move task to different control group")
        for path, tasks in self.tasks.items():
            if group in self.schemata or path not in self.schemata:
                tasks.discard(pid)
        self.tasks[group].add(pid)

    def parsed(self, group: str, text: str) -> dict[str, dict[int, int]]:
        """The schemata after this text was written."""
        if not text.endswith("\n"):
            raise Refused(EINVAL)
        now = {kind: dict(values) for kind, values in self.schemata[group].items()}
        for line in text.splitlines():
            kind, colon, rest = line.strip().partition(":")
            if not colon or kind not in now:
                raise Refused(EINVAL, f"Unknown or unsupported resource name '{kind}'")
            for part in rest.split(";"):
                domain, _, value = part.partition("=")
                if not domain.strip().isdigit() or int(domain) not in DOMAINS:
                    raise Refused(EINVAL, "Missing '=' or non-numeric domain")
                now[kind][int(domain)] = self.value(kind, value)
        return now

    @staticmethod
    def value(kind: str, text: str) -> int:
        """A mask, or a bandwidth rounded up."""
        try:
            number = int(text, 16 if kind == "L3" else 10)
        except ValueError:
            raise Refused(EINVAL, f"Non-hex character in the mask {text}") from None
        if kind == "L3":
            bits = f"{number:b}".strip("0")
            if number > MASK or not number or "0" in bits:
                raise Refused(EINVAL, f"The mask {number:x} has non-consecutive 1-bits")
            return number
        if not LEAST <= number <= 100:
            raise Refused(EINVAL, f"MB value {number} out of range [{LEAST},100]")
        return -(-number // STEP) * STEP


class Server:
    """Answers /dev/fuse, one request after the other."""

    def __init__(self, fd: int, model: Model) -> None:
        self.fd = fd
        self.model = model
        self.paths = {1: ""}  # by node id
        self.next = 2
        self.handlers: dict[int, Callable[[int, bytes], bytes]] = {
            1: self.lookup, 3: self.getattr, 4: self.getattr, 9: self.mkdir, 11: self.rmdir, 14: self.open,
            15: self.read, 16: self.write, 17: self.statfs, 18: self.nothing, 25: self.nothing, 26: self.init,
            27: self.open, 28: self.readdir, 29: self.nothing,
        }  # fmt: skip

    def serve(self) -> None:
        """Until the file system is unmounted (ENODEV)."""
        while True:
            try:
                request = os.read(self.fd, 1 << 20)
            except OSError:
                return
            _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
            if opcode in (2, 36, 42):  # FORGET, INTERRUPT, BATCH_FORGET: no answer
                continue
            error, answer = 0, b""
            try:
                if node not in self.paths and opcode != 26:
                    raise Refused(ENOENT)
                if opcode not in self.handlers:
                    raise Refused(ENOSYS)
                answer = self.handlers[opcode](node, request[40:])
            except Refused as refused:
                error = refused.errno or EINVAL
                if opcode in (9, 11, 16):
                    self.model.status = refused.status
            else:
                if opcode in (9, 11, 16):
                    self.model.status = "ok"
            os.write(self.fd, struct.pack("<IiQ", 16 + len(answer), -error, unique) + answer)

    def attributes(self, path: str, node: int = 1) -> bytes:
        """struct fuse_attr; ENOENT for what is not there."""
        files = self.model.files()
        if path in self.model.directories():
            mode, size = 0o40755, 0
        elif path in files:
            mode, size = 0o100644, len(files[path])
        else:
            raise Refused(ENOENT)
        return struct.pack("<6Q10I", node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def entry(self, path: str) -> bytes:
        """struct fuse_entry_out; nothing may be cached."""
        self.attributes(path)
        node = next((number for number, known in self.paths.items() if known == path), 0)
        if not node:
            node, self.next = self.next, self.next + 1
            self.paths[node] = path
        return struct.pack("<4Q2I", node, 0, 0, 0, 0, 0) + self.attributes(path, node)

    def lookup(self, node: int, body: bytes) -> bytes:
        return self.entry(f"{self.paths[node]}/{os.fsdecode(body.rstrip(bytes(1)))}")

    def getattr(self, node: int, _: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self.attributes(self.paths[node], node)

    def mkdir(self, node: int, body: bytes) -> bytes:
        name = os.fsdecode(body[8:].rstrip(bytes(1)))
        self.model.mkdir(self.paths[node], name)
        return self.entry(f"{self.paths[node]}/{name}")

    def rmdir(self, node: int, body: bytes) -> bytes:
        path = f"{self.paths[node]}/{os.fsdecode(body.rstrip(bytes(1)))}"
        self.attributes(path)
        self.model.rmdir(path)
        return b""

    def open(self, node: int, _: bytes) -> bytes:
        self.attributes(self.paths[node])
        return struct.pack("<QII", 0, 1, 0)  # FOPEN_DIRECT_IO

    def read(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        text = self.model.files().get(self.paths[node])
        if text is None:
            raise Refused(ENOENT)
        return text.encode()[offset : offset + size]

    def write(self, node: int, body: bytes) -> bytes:
        _, _, size = struct.unpack_from("<QQI", body)
        self.model.write(self.paths[node], body[40 : 40 + size].decode())
        return struct.pack("<II", size, 0)

    def readdir(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        path = self.paths[node]
        inside = {
            each
            for each in {*self.model.files(), *self.model.directories()}
            if each.rpartition("/")[0] == path and each
        }
        answer = b""
        for number, each in list(enumerate(sorted(inside), 1))[offset:]:
            name = os.fsencode(each.rpartition("/")[2])
            kind = 4 if each in self.model.directories() else 8
            entry = struct.pack("<QQII", 1, number, len(name), kind) + name
            entry += bytes(-len(entry) % 8)
            if len(answer) + len(entry) > size:
                break
            answer += entry
        return answer

    def statfs(self, _node: int, _body: bytes) -> bytes:
        return struct.pack("<5Q4I6I", 0, 0, 0, 0, 0, 4096, 255, 4096, *(0,) * 7)

    def nothing(self, _node: int, _body: bytes) -> bytes:
        return b""

    def init(self, _node: int, _body: bytes) -> bytes:
        return struct.pack("<4I2H2I2H8I", 7, 31, 65536, 0, 4, 3, 65536, 1, 16, 0, *(0,) * 8)


def main() -> None:
    """Mount, say so, serve."""
    directory, features = sys.argv[1:]
    local().prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL: it ends with the tests
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40755,user_id=0,group_id=0,allow_other"
    local().mount("resctrl", directory, "fuse", 0, options)
    sys.stdout.write("mounted\n")
    sys.stdout.flush()
    Server(fd, Model(features.split(","))).serve()


@contextlib.contextmanager
def mounted(directory: Path, features: str = "L3,MB,L3_MON") -> Iterator[Path]:
    """Have one at this directory."""
    directory.mkdir()
    top = Path(__file__).resolve().parents[2]
    argv = [sys.executable, "-m", "tests.ground.resctrl", str(directory), features]
    with subprocess.Popen(argv, cwd=top, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            ready = select.select([server.stdout], [], [], 60)[0]
            assert ready
            assert server.stdout.readline() == "mounted\n"
            yield directory
        finally:
            with contextlib.suppress(OSError):
                local().umount2(str(directory), 2)  # MNT_DETACH
            server.kill()


if __name__ == "__main__":
    main()
