import subprocess
import sys

import pellucid


def test_python_m_pellucid_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "pellucid", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"pellucid {pellucid.__version__}\n"
