"""What this machine is, in words: which results may stand beside which."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import facegrep

_PACKAGES: Final = (
    "facegrep", "numpy", "faiss-cpu", "usearch", "hnswlib", "zvec", "qdrant-edge-py", "lancedb",
)  # fmt: skip


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, tier, versions; nothing that says whose machine it is."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "isa": facegrep.active_isa(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "blas": _blas(),
    }


def same_machine(before: dict[str, Any]) -> bool:
    """Whether results of `before` may be kept; versions may differ, and the report says them."""
    now = describe_machine()
    return all(now[fact] == before.get(fact) for fact in ("cpu", "cores", "memory_gib"))


def _cpu() -> str:
    facts: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    return (
        f"{facts.get('model name', 'unknown')} "
        f"(family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _blas() -> list[str]:
    """The kernels that numpy and faiss multiply with: an old environment may hold them down."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return sorted(
        f"{pool.get('internal_api')} {pool.get('version')} {pool.get('architecture')}"
        for pool in threadpool_info()
        if pool.get("user_api") == "blas"
    )
