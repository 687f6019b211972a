"""Making targets: flowcharts, stacked training, compiled programs, and the zoo that keeps them with what is known."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.build import build_zoo
    from zoo.flowchart import Flowchart
    from zoo.flowchart_config import FlowchartConfig
    from zoo.flowchart_parser import parse_flowchart
    from zoo.padding import pad_layers
    from zoo.rows import ZooRow
    from zoo.sampling import sample_flowchart
    from zoo.show import show_zoo
    from zoo.spec import ZooSpec, load_spec, named_spec
    from zoo.split import split_of
    from zoo.store import Zoo
    from zoo.target import Target, Vocab
    from zoo.training_config import Architecture, TrainConfig
    from zoo.verify import verify_zoo

_HOME = {
    "Architecture": "training_config",
    "Flowchart": "flowchart",
    "FlowchartConfig": "flowchart_config",
    "Target": "target",
    "TrainConfig": "training_config",
    "Vocab": "target",
    "Zoo": "store",
    "ZooRow": "rows",
    "ZooSpec": "spec",
    "build_zoo": "build",
    "load_spec": "spec",
    "named_spec": "spec",
    "pad_layers": "padding",
    "parse_flowchart": "flowchart_parser",
    "sample_flowchart": "sampling",
    "show_zoo": "show",
    "split_of": "split",
    "verify_zoo": "verify",
}
__all__ = [
    "Architecture",
    "Flowchart",
    "FlowchartConfig",
    "Target",
    "TrainConfig",
    "Vocab",
    "Zoo",
    "ZooRow",
    "ZooSpec",
    "build_zoo",
    "load_spec",
    "named_spec",
    "pad_layers",
    "parse_flowchart",
    "sample_flowchart",
    "show_zoo",
    "split_of",
    "verify_zoo",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562), so that `import zoo` is quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(f"zoo.{_HOME[name]}"), name)
    globals()[name] = value
    return value
