"""What the sources must not hold: a way round TLS, a listener open to other machines, outside data taken for code."""

import ast
from pathlib import Path

import pytest

import twinloop

PACKAGE = Path(twinloop.__file__).resolve().parent
SOURCES = sorted(path for folder in ("engine", "data", "kernels") for path in (PACKAGE / folder).rglob("*.py"))
SOURCES += sorted(PACKAGE.glob("*.py"))
OFF = {
    "CERT_NONE", "CERT_OPTIONAL", "_create_unverified_context", "_create_stdlib_context", "TLSv1", "TLSv1_1", "SSLv3", "verify_ssl",
}  # fmt: skip
CODE = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "yaml",
    "eval",
    "exec",
    "allow_pickle",
    "joblib",
}
EVERYWHERE = {"0.0.0.0", "::", "[::]"}
# What compiles or runs the user's own strategy files, and what reads an error that this process made itself.
ALLOWED = {
    ("engine/strategy_entry.py", "cloudpickle"): "reads an exception that Numba's code in this very process has laid in memory",
    ("engine/strategy_types.py", "exec"): "makes functions from a text of its own, with names of the package or of checked methods",
    ("engine/strategy_entry.py", "exec"): "makes entries from its own template; what it runs is the user's own strategy file",
}  # fmt: skip


def places(path: Path, words: set[str]) -> list[tuple[str, str]]:
    """(file, word) for every name, attribute, import, keyword or call of these words in a source; docstrings and texts do not count."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            # Methods of other things may be called so: (Numba's `exec`, a frame's `eval`).
            names = [node.attr] if node.attr not in {"eval", "exec"} else []
        elif isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.keyword):
            names = [node.arg or ""]
        found += [(str(path.relative_to(PACKAGE)), name) for name in names if name in words]
    return found


def switched_off(path: Path) -> list[int]:
    """Lines where verification is given as False."""
    lines = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        named = isinstance(node, ast.keyword) and node.arg in {"ssl", "verify", "check_hostname", "ssl_context"}
        if (
            named
            and isinstance(node, ast.keyword)
            and isinstance(node.value, ast.Constant)
            and node.value.value is False
        ):
            lines.append(node.value.lineno)
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Attribute) and target.attr in {"check_hostname", "verify_mode"}
            for target in node.targets
        ):
            lines.append(node.lineno)
    return sorted(lines)


def test_the_scan_sees_what_it_looks_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    source = tmp_path / "x.py"
    source.write_text(
        "import pickle\nfrom ssl import CERT_NONE\nnp.load(f, allow_pickle=True)\neval('1')\nask(ssl=False)\nc.check_hostname = False\n"
    )
    assert {what for _, what in places(source, OFF | CODE)} == {"pickle", "CERT_NONE", "allow_pickle", "eval"}
    assert switched_off(source) == [5, 6]
    assert len(SOURCES) > 150


def test_tls_has_no_switch_to_turn_it_off() -> None:
    assert [place for path in SOURCES for place in places(path, OFF)] == []
    assert [(path.name, lines) for path in SOURCES if (lines := switched_off(path))] == []


def test_nothing_from_outside_is_taken_for_code() -> None:
    found = {place for path in SOURCES for place in places(path, CODE)}
    assert found - set(ALLOWED) == set()
    assert set(ALLOWED) <= found, "what is allowed and is not there any more: take it off the list"


def test_no_listener_is_open_to_other_machines() -> None:
    """No source names the address of every interface; those that listen on TCP name that of this machine."""
    everywhere = [
        (path.name, node.lineno)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in EVERYWHERE
    ]
    assert everywhere == []
    listeners = (
        "TCPSite",
        "create_server",
        "start_server",
        "start_http_server",
        "HTTPServer",
        "ThreadingHTTPServer",
        "TCPServer",
    )
    listening = set()
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if any(f"{name}(" in text for name in listeners):
            listening.add(str(path.relative_to(PACKAGE)))
            assert '"127.0.0.1"' in text, path
    assert listening == {"engine/exchange/server.py", "engine/sidecar/metrics.py"}
