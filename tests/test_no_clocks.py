"""No test is decided by how fast the machine is."""

import ast
from pathlib import Path

from hypothesis import settings

TESTS = sorted(Path(__file__).parent.rglob("*.py"))
CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time", "alarm", "setitimer", "timeit"}
# seconds: ten times what the longest process takes on a busy machine
GUARD = 1200


def clocks_in(source):
    """What a program reads of clocks, and limits it sets that are no mere guard against hanging."""
    tree = ast.parse(source)
    numbers = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Attribute) and getattr(called.value, "id", "") in ("time", "signal", "timeit"):
            found += [called.attr] if called.attr in CLOCKS else []
        elif isinstance(called, ast.Name) and called.id in CLOCKS - {"time"}:
            found.append(called.id)
        for keyword in node.keywords:
            if keyword.arg in ("timeout", "deadline"):
                limit = keyword.value
                value = numbers.get(limit.id) if isinstance(limit, ast.Name) else getattr(limit, "value", 0)
                if value is not None and value < GUARD:
                    found.append(f"{keyword.arg}={value}")
    return found


def test_no_test_reads_a_clock():
    assert {path.name: clocks for path in TESTS if (clocks := clocks_in(path.read_text()))} == {}


def test_clocks_are_found():
    source = "run(timeout=120); time.monotonic(); perf_counter(); settings(deadline=200); run(timeout=1800)"
    assert clocks_in(source) == ["timeout=120", "monotonic", "perf_counter", "deadline=200"]
    assert clocks_in("LIMIT = 60\nrun(timeout=LIMIT)") == ["timeout=60"]


def test_examples_of_hypothesis_have_no_deadline():
    assert settings().deadline is None
