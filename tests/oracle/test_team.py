"""Two processes that train together average what they found, and stay one model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from oracle.team import Team, launch


def member(out: str, team: Team) -> None:
    """Each member has its own gradient; the second has none at all for one parameter."""
    torch.set_num_threads(1)
    used, unused = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    (used * torch.tensor([1.0, 3.0]) * (team.rank + 1)).sum().backward()
    if team.rank == 0:
        unused.sum().backward()
    team.average_gradients([used, unused])
    assert used.grad is not None and unused.grad is not None
    found = {"used": used.grad.tolist(), "unused": unused.grad.tolist(), "clock": team.average(float(team.rank))}
    (Path(out) / str(team.rank)).write_text(json.dumps(found))


def test_members_of_a_team_have_the_mean_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])  # where a member finds this file
    launch(2, member, str(tmp_path))
    found = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(2)]
    assert found[0] == found[1] == {"used": [1.5, 4.5], "unused": [0.5], "clock": 0.5}


def test_a_team_of_one_changes_nothing() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    (parameter * 3).sum().backward()
    Team().average_gradients([parameter])
    assert parameter.grad is not None and parameter.grad.tolist() == [3, 3] and Team().average(2.5) == 2.5
