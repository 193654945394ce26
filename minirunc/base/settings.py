"""The global options of the command line, as every command gets them."""


class Settings:
    """Where state lives and how to report; built once by the command line or the library."""

    __slots__ = ("debug", "log", "log_format", "root", "rootless", "systemd_cgroup")

    def __init__(
        self,
        root: str = "/run/minirunc",
        *,
        debug: bool = False,
        systemd_cgroup: bool = False,
        rootless: str = "auto",
        log: str = "",
        log_format: str = "text",
    ) -> None:
        self.root = root  # absolute; one directory a container below it
        self.debug = debug
        self.systemd_cgroup = systemd_cgroup
        self.rootless = rootless  # "true", "false" or "auto"
        self.log = log  # file to append to; "" is stderr
        self.log_format = log_format  # "text" or "json"
