"""A target made again from its zoo's spec and its id alone: the proof that nothing else is in its weights."""

from __future__ import annotations

from dataclasses import replace

from tracr_tasks.errors import ZooError
from zoo.chunks import ChunkPlan, Device, make_chunk, plan_chunks
from zoo.engine_gpu import device_of
from zoo.engines import one_thread
from zoo.files import shown
from zoo.legible.recipe import LEARNED
from zoo.shard import Member
from zoo.spec import ZooSpec
from zoo.store import Zoo, target_of_row
from zoo.target import Target


def rebuild(zoo: Zoo, target_id: str) -> Target:
    """Make a target again from the zoo's spec (seeds follow from it and the id); no weight is read.

    A trained target is made with its whole chunk, as it was the first time: the products of a stack are rounded by its
    size. On a processor of another kind float32 products may be rounded in another way.

    Raises:
        ZooError: no such target, or the weights made now are not those in the zoo (another version or processor).
    """
    row = zoo.row(target_id)
    again, config, flat = remake(zoo.spec, target_id, row.labels.get("device", "cpu"))
    if again.sha256 != row.sha256:
        raise ZooError(
            f"{shown(zoo.directory, 300)}: '{target_id}' made again has sha256 {again.sha256[:12]}, expected "
            f"{row.sha256[:12]}; was the zoo made by another version of this package or on another kind of processor?"
        )
    return target_of_row(again, config, flat)


def remake(spec: ZooSpec, target_id: str, device: Device = "cpu") -> Member:
    """Row, architecture and flat weights of one target of a spec, trained on `device` if it is trained.

    Raises:
        ZooError: the spec has no such target, or it could not be made.
        InputError: there is no such device.
    """
    device = device_of(device)
    plan = plan_of(spec, target_id)
    with one_thread():
        members, failures = make_chunk(spec, plan, device)
    for failure in failures:
        if failure.id == target_id:
            raise ZooError(f"'{shown(target_id)}' could not be made: {failure.reason}")
    return next(member for member in members if member[0].id == target_id)


def plan_of(spec: ZooSpec, target_id: str) -> ChunkPlan:
    """The least that must be made for one target: its chunk if it is trained, else itself.

    Raises:
        ZooError: the spec has no such target.
    """
    for plan in plan_chunks(spec):
        if target_id in (ids := plan.ids()):
            at = plan.start + ids.index(target_id)
            return plan if plan.regime in LEARNED else replace(plan, start=at, stop=at + 1)
    raise ZooError(f"spec '{shown(spec.name)}': no target '{shown(target_id)}'")
