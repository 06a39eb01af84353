"""The machine code of a size class's doors in one file, so that a process that finds it loads milliseconds of code and compiles nothing.

The file stands in the folder that is keyed by a digest of all kernel sources, of the compilers' versions and of the CPU
(twinloop._cache), so it is never stale; it is written whole or not at all, and one that is damaged is made again.
"""

import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import llvmlite.binding
from numba import cfunc, config, types
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

from twinloop.kernels.linking import check_kept, promised, separate, slot

try:
    import fcntl
except ImportError:  # Not on this system: two processes that start at once both compile.
    fcntl = None  # type: ignore[assignment]

_MAGIC: Final = b"twinloop image 1\n"
_DOOR: Final = types.void(types.int64)

# A part of the file: (name of a slot, or of a door behind "door:"; symbol; object code).
Part = tuple[str, str, bytes]


# Kernels that one group compiles for all, by the group's name: what each returns.
Promises = Mapping[str, Mapping[Any, Any]]


def load(
    size: str, groups: Mapping[str, Mapping[str, Any]], command: str, promises: Promises = MappingProxyType({})
) -> dict[str, int]:
    """Address of each door void(int64), by its name. What no image holds yet is compiled: one group here, others in processes beside.

    size: name of the size class. groups: doors by name, by group. command: Python that calls make() for a group, to be formatted with it.
    promises: the kernels that a group leaves to another. No door runs before the images of all groups are loaded.
    """
    addresses: dict[str, int] = {}
    missing = []
    for group in groups:
        parts = read(_path(size, group))
        if parts is None:
            missing.append(group)
        else:
            addresses |= load_parts(parts)
    if not missing:
        return addresses
    with _alone(size):
        missing = [group for group in missing if not _path(size, group).exists()]
        beside = {group: _start(command.format(group)) for group in missing[1:]}
        for group, doors in groups.items():
            if not doors.keys() <= addresses.keys():
                if group in beside:
                    beside[group].wait()
                parts = read(_path(size, group))
                addresses |= make(size, group, doors, promises) if parts is None else load_parts(parts)
    return addresses


def make(size: str, group: str, doors: Mapping[str, Any], promises: Promises = MappingProxyType({})) -> dict[str, int]:
    """Compile doors and keep them as an image; their addresses in this process."""
    parts: list[Part] = []
    addresses = {}
    elsewhere = {
        kernel: returned for other, each in promises.items() if other != group for kernel, returned in each.items()
    }
    with separate(elsewhere) as linked:
        for name, function in doors.items():
            door = cfunc(_DOOR)(function)
            _kept.append(door)
            addresses[name] = door.address
            library = door._library  # noqa: SLF001
            parts.append((f"door:{name}", door._wrapper_name, bytes(library._get_compiled_object())))  # noqa: SLF001
        for kernel, returned in promises.get(group, {}).items():
            check_kept(kernel, returned)
        parts += [(name, each.symbol, each.object_code) for name, each in linked.items()]
        parts += [(name, "", b"") for name in promised()]  # Slots that this code names and another image fills.
    write(_path(size, group), parts)
    return addresses


_kept: list[Any] = []  # Their code must outlive the addresses.


def _path(size: str, group: str) -> Path:
    return Path(config.CACHE_DIR) / f"{size}-{group}.image"


def _start(command: str) -> subprocess.Popen[bytes]:
    """A process like this one. What it cannot do is done here after it."""
    places = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", command],
        env=places,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextmanager
def _alone(size: str) -> Iterator[None]:
    """Let one process compile while others that need the same wait for it."""
    if fcntl is None:
        yield
        return
    try:
        lock = (Path(config.CACHE_DIR) / f"{size}.lock").open("wb")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load_parts(parts: list[Part]) -> dict[str, int]:
    """Make the machine code of an image runnable in this process; the address of each of its doors."""
    context = cpu_target.target_context
    rtsys.initialize(context)  # Names that machine code may refer to.
    engine = context.codegen()._engine._ee  # noqa: SLF001
    # Every slot is known before code that names it. What another group brought already is not loaded a second time.
    parts = [part for part in parts if part[0].startswith("door:") or slot(part[0]).value == 0]
    parts = [part for part in parts if part[2]]
    for _, _, code in parts:
        engine.add_object_file(llvmlite.binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    doors = {}
    for name, symbol, _ in parts:
        address = engine.get_function_address(symbol)
        if name.startswith("door:"):
            doors[name.removeprefix("door:")] = address
        else:
            slot(name).value = address
    return doors


def write(path: Path, parts: list[Part]) -> None:
    """Write the file whole or not at all; a folder that cannot be written to only costs the next process its time."""
    body = bytearray()
    for name, symbol, code in parts:
        for field in (name.encode(), symbol.encode(), code):
            body += struct.pack("<Q", len(field)) + field
    half_made = path.with_suffix(f".{os.getpid()}")
    try:
        half_made.write_bytes(_MAGIC + hashlib.blake2b(body, digest_size=32).digest() + body)
        half_made.replace(path)
    except OSError:
        with suppress(OSError):
            half_made.unlink(missing_ok=True)


def read(path: Path) -> list[Part] | None:
    """The parts of an image, or None where it is missing, damaged or of another form."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body = memoryview(data)[len(_MAGIC) + 32 :]
    if not data.startswith(_MAGIC) or hashlib.blake2b(body, digest_size=32).digest() != data[len(_MAGIC) :][:32]:
        return None
    fields: list[bytes] = []
    at = 0
    while at < len(body):
        (length,) = struct.unpack_from("<Q", body, at)
        fields.append(bytes(body[at + 8 : at + 8 + length]))
        at += 8 + length
    return [(fields[i].decode(), fields[i + 1].decode(), fields[i + 2]) for i in range(0, len(fields), 3)]
