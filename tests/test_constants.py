"""kernel/constants.py: the kernel's numbers, compared with its own headers."""

import os
import subprocess
from pathlib import Path

from minirunc.kernel import constants

HEADERS = """asm/ioctls linux/close_range linux/fcntl linux/magic linux/mount linux/openat2 linux/prctl
    linux/sched linux/sockios linux/stat""".split()  # noqa: SIM905
ELSEWHERE = (
    "MNT_DETACH",  # in glibc's <sys/mount.h>, which does not go with <linux/mount.h>
    "STATX_MNT_ID_UNIQUE",  # Linux 6.8: headers of distributions are older
)


def names() -> dict[str, int]:
    """All constants."""
    return {name: value for name, value in vars(constants).items() if name.isupper() and isinstance(value, int)}


def test_numbers_are_those_of_the_kernels_headers(tmp_path: Path) -> None:
    """Each name means what the C compiler says it means on this machine."""
    wanted = [name for name in names() if name not in ELSEWHERE]
    source = "".join(f"#include <{header}.h>\n" for header in HEADERS) + "#include <stdio.h>\nint main(void) {\n"
    source += "".join(f'printf("{name} %lld\\n", (long long) {name});\n' for name in wanted) + "}\n"
    (tmp_path / "numbers.c").write_text(source)
    subprocess.run(["gcc", "-w", "-o", tmp_path / "numbers", tmp_path / "numbers.c"], check=True)
    lines = subprocess.check_output([tmp_path / "numbers"], text=True).splitlines()
    assert {name: int(value) for name, value in map(str.split, lines)} == {name: names()[name] for name in wanted}


def test_flags_of_open_are_this_machines() -> None:
    """O_DIRECTORY and O_NOFOLLOW are other numbers on aarch64 than on x86_64: a wrong one would follow links there."""
    flags = {name: value for name, value in names().items() if name.startswith("O_")}
    assert flags == {name: getattr(os, name) for name in flags}
