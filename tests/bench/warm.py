"""exec from a warm process: a Python with minirunc imported does one library call for each line it reads."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __package__:
    from .ground import REPO
    from .spawn import ENVIRONMENT, LIMIT_S, Failed
    from .stats import Sample


def open_container(root: str, ident: str) -> Any:
    import minirunc

    return minirunc.Container.load(root, ident)  # type: ignore[attr-defined]


def exec_true(container: Any) -> int:
    """The call that is timed."""
    status: int = container.exec(["/bin/true"]).wait()
    return status


class Warm:
    """The other end of the pipe: asks for one call at a time, so that it takes its turn among the others."""

    def __init__(self, python: str, root: Path, ident: str) -> None:
        command = [python, "-I", "-S", str(Path(__file__)), str(REPO), str(root), ident]
        self.worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True
        )
        try:
            self._answer()
        except Failed:
            self.__exit__()
            raise

    def __enter__(self) -> "Warm":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self.worker.stdin is not None
        self.worker.stdin.close()
        self.worker.wait()

    def measure(self, launch: object) -> "Sample":
        """One call; the peak is the whole worker's."""
        assert self.worker.stdin is not None
        self.worker.stdin.write("\n")
        self.worker.stdin.flush()
        answer = self._answer()
        return Sample(answer["wall"], answer["cpu"], answer["peak"])

    def _answer(self) -> dict[str, Any]:
        assert self.worker.stdout is not None
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        try:
            line = self.worker.stdout.readline()
        except TimeoutError:
            self.worker.kill()
            raise Failed(f"exec from a warm process: not done after {LIMIT_S:.0f} s") from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        answer: dict[str, Any] = json.loads(line) if line else {"problem": "the warm process died"}
        if "problem" in answer:
            raise Failed(f"exec from a warm process: {answer['problem']}")
        return answer


def _cpu_ms() -> float:
    import resource

    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) * 1e3


def _peak_mib() -> float:
    # not ru_maxrss, which has the resident set of the process that spawned us
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def _timed(call: Callable[[], int]) -> dict[str, Any]:
    cpu, begin = _cpu_ms(), time.perf_counter_ns()
    status = call()
    end = time.perf_counter_ns()
    if status != 0:
        return {"problem": f"exit status {status}"}
    return {"wall": (end - begin) / 1e6, "cpu": _cpu_ms() - cpu, "peak": _peak_mib()}


def serve(repo: str, root: str, ident: str) -> None:
    """Answer each line read with the figures of one call, as a line of JSON."""
    sys.path.insert(0, repo)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open("/dev/null", os.O_RDWR), 1)  # nothing the library starts shall write among our answers
    try:
        container = open_container(root, ident)
        print("{}", file=answers, flush=True)
        for _ in sys.stdin:
            print(json.dumps(_timed(lambda: exec_true(container))), file=answers, flush=True)
    except Exception as error:
        print(json.dumps({"problem": f"{type(error).__name__}: {error}"}), file=answers, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
