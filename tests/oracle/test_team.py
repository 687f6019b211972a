"""Two processes that train together find each other, average what they found, and stay one model."""

from __future__ import annotations

import atexit
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from torch.multiprocessing import ProcessRaisedException

from oracle.team import launch, launched


def member(out: str) -> None:
    """Each member has its own gradient; the second has none at all for one parameter."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    rank = accelerator.process_index
    used, unused = torch.nn.Linear(2, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    model = accelerator.prepare(Both(used, unused))
    accelerator.backward(model(torch.tensor([1.0, 3.0]) * (rank + 1), rank == 0))
    assert used.weight.grad is not None and unused.weight.grad is not None
    found = {"used": used.weight.grad[0].tolist(), "unused": unused.weight.grad[0].tolist()}
    (Path(out) / str(rank)).write_text(json.dumps(found | {"launched": launched()}))


class Both(torch.nn.Module):
    def __init__(self, used: torch.nn.Module, unused: torch.nn.Module):
        super().__init__()
        self.used, self.unused = used, unused

    def forward(self, x: torch.Tensor, with_other: bool) -> torch.Tensor:
        out = self.used(x).sum()
        return out + self.unused(torch.ones(1)).sum() if with_other else out


def broken(out: str) -> None:
    raise ValueError(f"no {out}")


def untidy(out: str) -> None:
    """What would be done when an interpreter is taken down."""
    print("done", flush=False)
    atexit.register(os.abort)


def test_what_is_left_when_the_work_is_done_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    launch(2, untidy, "")
    assert capfd.readouterr().out.split() == ["done", "done"]


def test_what_goes_wrong_in_a_member_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    with pytest.raises(ProcessRaisedException, match="no luck"):
        launch(2, broken, "luck")


def test_members_of_a_team_have_the_mean_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])  # where a member finds this file
    launch(2, member, str(tmp_path))
    found = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(2)]
    assert found[0] == found[1] == {"used": [1.5, 4.5], "unused": [0.5], "launched": True}
    assert not launched()
