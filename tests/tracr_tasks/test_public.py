from __future__ import annotations

import subprocess
import sys

import pytest

import tracr_tasks


def test_every_name_can_be_imported() -> None:
    assert sorted(tracr_tasks.__all__) == sorted(dir(tracr_tasks)) == sorted(tracr_tasks._HOME)
    for name in tracr_tasks.__all__:
        assert getattr(tracr_tasks, name) is not None
    with pytest.raises(AttributeError):
        tracr_tasks.nothing  # noqa: B018


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, tracr_tasks; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
