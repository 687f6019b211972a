"""Jobs of a study on several processes of one thread each, with a bar."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import torch
from tqdm import tqdm

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_jobs(do: Callable[[Job], Result], jobs: Sequence[Job], workers: int, label: str) -> list[Result]:
    """`do(job)` of every job, in their order; `do` is a function of a module, and jobs and results can be pickled.

    Results depend on the jobs alone, not on the number of workers: with one worker they are done here, on one thread.
    """
    with tqdm(total=len(jobs), desc=label, disable=not sys.stderr.isatty() or None) as bar:
        if workers <= 1 or len(jobs) <= 1:
            return [_here(do, job, bar) for job in jobs]
        results: dict[int, Result] = {}
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(jobs)), context, _one_thread) as pool:
            try:
                waiting = {pool.submit(do, job): i for i, job in enumerate(jobs)}
                for done in as_completed(waiting):
                    results[waiting[done]] = done.result()
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return [results[i] for i in range(len(jobs))]


def _here(do: Callable[[Job], Result], job: Job, bar: tqdm) -> Result:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = do(job)
    finally:
        torch.set_num_threads(threads)
    bar.update()
    return result


def _one_thread() -> None:
    """Before a worker's first job."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
