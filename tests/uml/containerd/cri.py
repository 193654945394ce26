"""The Container Runtime Interface, as far as the tests speak it: protobuf messages over gRPC.

Source: api.proto of kubernetes/cri-api, package runtime.v1; protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

PATIENCE_S = 600
# Of each message the fields as NUMBER NAME TYPE. An answer's members that are not here are passed over.
FIELDS = {
    "RunPodSandboxRequest": "1 config PodSandboxConfig, 2 runtime_handler string",
    "RunPodSandboxResponse": "1 pod_sandbox_id string",
    "StopPodSandboxRequest": "1 pod_sandbox_id string",
    "RemovePodSandboxRequest": "1 pod_sandbox_id string",
    "ListPodSandboxRequest": "",
    "ListPodSandboxResponse": "1 items PodSandbox",
    "PodSandbox": "1 id string",
    "PodSandboxConfig": "1 metadata Metadata, 2 hostname string, 3 log_directory string, 8 linux LinuxPod",
    "Metadata": "1 name string, 2 uid string, 3 namespace string",
    "LinuxPod": "1 cgroup_parent string, 2 security_context PodSecurity",
    "PodSecurity": "1 namespace_options Namespaces, 6 privileged int",
    "Namespaces": "1 network int, 2 pid int, 3 ipc int",
    "CreateContainerRequest": "1 pod_sandbox_id string, 2 config ContainerConfig, 3 sandbox_config PodSandboxConfig",
    "CreateContainerResponse": "1 container_id string",
    "ContainerConfig": "1 metadata ContainerMetadata, 2 image Image, 3 command string, 5 working_dir string, "
    "6 envs KeyValue, 7 mounts Mount, 8 devices Device, 11 log_path string, 14 tty int, 15 linux LinuxContainer",
    "ContainerMetadata": "1 name string",
    "Image": "1 image string",
    "KeyValue": "1 key string, 2 value string",
    "Mount": "1 container_path string, 2 host_path string, 3 readonly int, 5 propagation int",
    "Device": "1 container_path string, 2 host_path string, 3 permissions string",
    "LinuxContainer": "1 resources Resources, 2 security_context Security",
    "Resources": "1 cpu_period int, 2 cpu_quota int, 3 cpu_shares int, 4 memory_limit_in_bytes int, "
    "5 oom_score_adj int, 9 unified KeyValue, 10 memory_swap_limit_in_bytes int",
    "Security": "1 capabilities Capabilities, 2 privileged int, 3 namespace_options Namespaces, 5 run_as_user Int64, "
    "6 run_as_username string, 7 readonly_rootfs int, 8 supplemental_groups int, 11 no_new_privs int, "
    "12 run_as_group Int64, 13 masked_paths string, 14 readonly_paths string, 15 seccomp Profile",
    "Capabilities": "1 add_capabilities string, 2 drop_capabilities string",
    "Int64": "1 value int",
    "Profile": "1 profile_type int, 2 localhost_ref string",
    "StartContainerRequest": "1 container_id string",
    "StopContainerRequest": "1 container_id string, 2 timeout int",
    "RemoveContainerRequest": "1 container_id string",
    "ExecSyncRequest": "1 container_id string, 2 cmd string, 3 timeout int",
    "ExecSyncResponse": "1 stdout string, 2 stderr string, 3 exit_code int",
    "ContainerStatusRequest": "1 container_id string",
    "ContainerStatusResponse": "1 status ContainerStatus",
    "ContainerStatus": "3 state int, 7 exit_code int, 10 reason string, 11 message string",
    "UpdateContainerResourcesRequest": "1 container_id string, 2 linux Resources",
    "ContainerStatsRequest": "1 container_id string",
    "ContainerStatsResponse": "1 stats Stats",
    "Stats": "2 cpu Cpu, 3 memory Memory",
    "Cpu": "2 usage_core_nano_seconds Int64",
    "Memory": "2 working_set_bytes Int64, 4 usage_bytes Int64, 5 rss_bytes Int64, 6 page_faults Int64",
}
REPEATED = {"items"}  # of what is read


class Error(Exception):
    """The engine's no."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code = code


class Client:
    """Speaks to a socket: `client.call("ExecSync", container_id=id, cmd=["true"])` is the answer as a dict."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def call(self, method: str, **request: Any) -> dict[str, Any]:
        """Raises Error."""
        message = encode(f"{method}Request", request)
        try:
            call = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{method}")
            answer = call(message, timeout=PATIENCE_S, wait_for_ready=True)
        except grpc.RpcError as error:
            raise Error(error.code().value[0], error.details()) from None
        return decode(f"{method}Response", answer)


def encode(kind: str, values: dict[str, Any]) -> bytes:
    """A message; a list is a repeated field, a dict a message in it, a bool or int a varint."""
    numbers = {name: (int(number), kind) for number, name, kind in _fields(kind)}
    encoded = b""
    for name, value in values.items():
        number, inner = numbers[name]
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                encoded += _varint(number << 3) + _varint(item % (1 << 64))
            else:
                data = encode(inner, item) if isinstance(item, dict) else item.encode()
                encoded += _varint(number << 3 | 2) + _varint(len(data)) + data
    return encoded


def decode(kind: str, data: bytes) -> dict[str, Any]:
    """The other way round."""
    fields = {int(number): (name, kind) for number, name, kind in _fields(kind)}
    values: dict[str, Any] = {}
    while data:
        key, data = _read_varint(data)
        value: Any
        value, data = _read_varint(data)
        if key & 7 == 2:  # what was read is a length
            value, data = data[:value], data[value:]
        name, inner = fields.get(key >> 3, ("", ""))
        if inner and inner != "int":
            value = value.decode(errors="replace") if inner == "string" else decode(inner, value)
        if name in REPEATED:
            values.setdefault(name, []).append(value)
        elif name:
            values[name] = value
    return values


def _fields(kind: str) -> Iterator[list[str]]:
    return (field.split() for field in FIELDS.get(kind, "").split(",") if field)


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def _read_varint(data: bytes) -> tuple[int, bytes]:
    number = 0
    for place, byte in enumerate(data):
        number |= (byte & 127) << 7 * place
        if byte < 128:
            return number, data[place + 1 :]
    raise ValueError("a varint without an end")
