"""linux.memoryPolicy: the kernel's own account of it, /proc/self/numa_maps, read inside (numa(7))."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirunc.config.linux.memory_policy import FLAGS, MODES
from tests.config_json import loaded, refusal
from tests.ground.bundle import Bundle
from tests.ground.runtime import Runtime

numa = pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="the kernel is built without NUMA")
MAPS = "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2-3"
ADDED = {"MPOL_PREFERRED_MANY": (5, 15), "MPOL_WEIGHTED_INTERLEAVE": (6, 9), "MPOL_F_NUMA_BALANCING": (5, 12)}

POLICIES = [  # mode, nodes, flags, what numa_maps calls it
    ("MPOL_DEFAULT", "", [], "default"),
    ("MPOL_LOCAL", "", [], "local"),
    ("MPOL_PREFERRED", "", [], "local"),
    ("MPOL_PREFERRED", "0", [], "prefer:0"),
    ("MPOL_PREFERRED_MANY", "0", [], "prefer (many):0"),
    ("MPOL_BIND", "0", [], "bind:0"),
    ("MPOL_INTERLEAVE", "0", [], "interleave:0"),
    ("MPOL_WEIGHTED_INTERLEAVE", "0", [], "weighted interleave:0"),
    ("MPOL_BIND", "0", ["MPOL_F_STATIC_NODES"], "bind=static:0"),
    ("MPOL_PREFERRED", "0-1,3", ["MPOL_F_RELATIVE_NODES"], "prefer=relative:0"),
    ("MPOL_BIND", "0", ["MPOL_F_NUMA_BALANCING"], "bind"),
    ("MPOL_BIND", "0", ["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"], "bind=static"),
]


def kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


@numa
@pytest.mark.observes("linux.memoryPolicy.mode", "linux.memoryPolicy.nodes", "linux.memoryPolicy.flags[]")
@pytest.mark.parametrize(("mode", "nodes", "flags", "seen"), POLICIES)
def test_policy_of_the_process(
    minirunc: Runtime, bundle: Callable[..., Bundle], mode: str, nodes: str, flags: list[str], seen: str
) -> None:
    """All modes and flags; nodes that are not there are left out, as long as one is."""
    for word in (mode, *flags):
        if kernel() < ADDED.get(word, (0, 0)):
            pytest.skip(f"{word} is of Linux {ADDED[word]}")
    made = bundle(MAPS)
    made.linux["memoryPolicy"] = {"mode": mode, "nodes": nodes, "flags": flags}
    result = minirunc.run(made)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(seen)
    assert flags or result.out.split(" anon")[0].split(" file")[0].strip() == seen


@numa
@pytest.mark.observes("linux.memoryPolicy.mode", "linux.memoryPolicy.nodes")
def test_policy_of_exec_and_start_container_hooks(minirunc: Runtime, bundle: Callable[..., Bundle]) -> None:
    """Every process of the container has it, those of createContainer hooks, which are the host's, have not."""
    made = bundle(f"{MAPS} > /init; exec sleep 1000")
    made.linux["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"{MAPS} > /hook"], "env": ["PATH=/bin:/usr/bin"]}
    outside = {"path": "/bin/sh", "args": ["sh", "-c", f"{MAPS} > rootfs/outside"]}
    made.config["hooks"] = {"startContainer": [hook], "createRuntime": [outside]}
    id = minirunc.start(made)
    assert minirunc.ok("exec", id, "sh", "-c", MAPS).startswith("interleave:0")
    minirunc.ok("delete", "--force", id)
    assert (made.rootfs / "init").read_text().startswith("interleave:0")
    assert (made.rootfs / "hook").read_text().startswith("interleave:0")
    assert (made.rootfs / "outside").read_text().startswith("default")


@numa
@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (
            {"mode": "MPOL_BIND", "nodes": "1022,1023"},
            '(MPOL_BIND, nodes "1022,1023"): invalid argument: this machine has memory on no such node, only on {}',
        ),
        (
            {"mode": "MPOL_PREFERRED", "flags": ["MPOL_F_STATIC_NODES"]},
            (
                '(MPOL_PREFERRED|MPOL_F_STATIC_NODES, nodes ""): invalid argument: this kernel has no such mode, not'
                " with these flags, or linux.resources.cpu.mems no such node"
            ),
        ),
    ],
)
def test_what_the_kernel_refuses_is_explained(
    minirunc: Runtime, bundle: Callable[..., Bundle], policy: dict[str, Any], why: str
) -> None:
    """Its EINVAL alone does not say that the machine has no such node."""
    made = bundle()
    made.linux["memoryPolicy"] = policy
    result = minirunc.run(made)
    why = why.format(Path("/sys/devices/system/node/has_memory").read_text().strip())
    assert (result.status, result.out) == (1, "")
    assert f"config.json: linux.memoryPolicy: set_mempolicy{why}" in result.err.replace('\\"', '"')


KNOWN = f"expected one of {', '.join(MODES)}"
REFUSED = [
    ({}, f'mode: invalid memory policy mode "": {KNOWN}'),
    ({"nodes": "0-7"}, f'mode: invalid memory policy mode "": {KNOWN}'),
    ({"mode": "INTERLEAVE", "nodes": "0"}, f'mode: invalid memory policy mode "INTERLEAVE": {KNOWN}'),
    (
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "badflag"]},
        f'flags[1]: invalid memory policy flag "badflag": expected one of {", ".join(FLAGS)}',
    ),
    (
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]},
        "flags: MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other",
    ),
    (
        {"mode": "MPOL_BIND", "nodes": "0-9876543210"},
        'nodes: invalid memory policy nodes "0-9876543210": values larger than 1023 are not supported',
    ),
    ({"mode": "MPOL_BIND", "nodes": "a"}, 'nodes: invalid memory policy nodes "a": "a" is not a number'),
    *(
        (
            {"mode": mode, "nodes": "0-7"},
            f"nodes: memory policy mode requires 0 nodes but got 8: linux.memoryPolicy.mode is {mode}",
        )
        for mode in ("MPOL_DEFAULT", "MPOL_LOCAL")
    ),
    *(
        (
            {"mode": mode, "nodes": ""},
            f"nodes: memory policy mode requires at least one node but got 0: linux.memoryPolicy.mode is {mode}",
        )
        for mode in ("MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE")
    ),
]


@pytest.mark.parametrize(("policy", "why"), REFUSED)
def test_what_is_wrong_is_named(policy: dict[str, Any], why: str) -> None:
    """In runc's words, and what is allowed."""
    assert refusal({"linux.memoryPolicy": policy}) == f"config.json: linux.memoryPolicy.{why}"


def test_nodes_may_be_empty_or_absent() -> None:
    """config-linux.md "Memory policy", as it is since 1.3.0: some modes require that there are no nodes."""
    loaded({"linux.memoryPolicy": {"mode": "MPOL_DEFAULT"}})
    loaded({"linux.memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "", "flags": []}})


def test_tables_are_those_of_the_specification() -> None:
    """Seven modes, three flags."""
    assert len(MODES) == 7
    assert len(FLAGS) == 3
