import subprocess
import sys

import pytest

from pellucid.io.vips import LOADERS, vips

ALLOWED = {name.removesuffix("_source") for name in LOADERS.values()}


def _loaders():
    pyvips = vips()
    names = []

    def visit(gtype, _a, _b):
        names.append(pyvips.nickname_find(gtype))
        pyvips.type_map(gtype, visit)
        return pyvips.ffi.NULL

    pyvips.type_map(pyvips.type_from_name("VipsForeignLoad"), visit)
    return {name for name in names if not name.endswith("_base")}


def test_importing_images_loads_neither_pyvips_nor_anything_slow():
    code = "import sys, pellucid.io; print(sorted({'pyvips', 'PIL', 'tifffile'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_only_the_five_loaders_can_run(tmp_path):
    pyvips = vips()
    file = tmp_path / "x"
    file.write_bytes(b"GIF89a")
    loaders = _loaders()
    assert {f"{name}_source" for name in ALLOWED} <= loaders
    for name in sorted(name for name in loaders if name.partition("_")[0] not in ALLOWED):
        first = {"source": pyvips.Source.new_from_memory(b"GIF89a"), "buffer": b"GIF89a"}
        arguments = [first.get(name.partition("_")[2], str(file)), 1, 1, 1]
        n_arguments = len(pyvips.Introspect.get(name).required_input)
        with pytest.raises(pyvips.Error, match="blocked"):
            pyvips.Operation.call(name, *arguments[:n_arguments])


def test_threads_that_come_first_together_block_the_loaders_once():
    """A second setting up would block the loaders for a moment, and a good file opened then would look damaged."""
    code = """
import threading, time
import pyvips
from pellucid.io.vips import vips

allow, calls = pyvips.operation_block_set, []

def slow(name, state):
    calls.append((name, state))
    time.sleep(0.05)
    allow(name, state)

pyvips.operation_block_set = slow
threads = [threading.Thread(target=vips) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(calls.count(("VipsForeignLoad", True)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "1\n"
