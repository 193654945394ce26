"""The global options of the command line, as every command gets them."""

CGROUPFS, SYSTEMD, DISABLED = "cgroupfs", "systemd", "disabled"
MANAGERS = (CGROUPFS, SYSTEMD, DISABLED)  # who makes cgroups: --cgroup-manager, in crun's words


class Settings:
    """Where state lives and how to report; built once by the command line or the library."""

    __slots__ = ("cgroup_manager", "debug", "log", "log_format", "root", "rootless", "warnings")

    def __init__(
        self,
        root: str = "/run/minirunc",
        *,
        debug: bool = False,
        cgroup_manager: str = CGROUPFS,
        rootless: str = "auto",
        log: str = "",
        log_format: str = "text",
        warnings: bool = True,
    ) -> None:
        self.root = root  # absolute; one directory a container below it
        self.debug = debug
        self.cgroup_manager = cgroup_manager  # who makes cgroups: one of MANAGERS
        self.rootless = rootless  # "true", "false" or "auto"
        self.log = log  # file to append to; "" is stderr; journald:NAME, syslog:NAME
        self.log_format = log_format  # "text" or "json"
        self.warnings = warnings  # whether they are logged
