"""The weight oracle: an encoder of weights, a LoRA-tuned language model that reads them, questions and grading.

    from oracle import WeightOracle

    WeightOracle.from_pretrained().ask(target, "What does this model compute?")

What the command line does is in functions of the same names: `oracle.base.pretrain`, `oracle.train.train`,
`oracle.evaluation.run.evaluate`, `oracle.quickstart.quickstart`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oracle.answer import Answer
    from oracle.encoder import WeightEncoder
    from oracle.evaluation.report import Report
    from oracle.oracle import WeightOracle

_HOME = {
    "Answer": "oracle.answer",
    "Report": "oracle.evaluation.report",
    "WeightEncoder": "oracle.encoder",
    "WeightOracle": "oracle.oracle",
}

__all__ = ["Answer", "Report", "WeightEncoder", "WeightOracle"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use: importing the package imports nothing heavy."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
