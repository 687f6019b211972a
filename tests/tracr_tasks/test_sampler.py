from __future__ import annotations

import time

import pytest

from tracr_tasks.batch import hash_inputs
from tracr_tasks.errors import InputError
from tracr_tasks.sampler import ENCODINGS, SamplerConfig, sample_compiled, sample_program


def test_a_seed_gives_one_program() -> None:
    assert sample_program(7) == sample_program(7)
    assert len({sample_program(seed).function_hash() for seed in range(40)}) > 30


def test_accepted_programs_are_within_the_limits() -> None:
    config = SamplerConfig(min_ops=3, max_ops=4)
    for seed in range(40):
        target = sample_compiled(seed, config)
        ops = [n for n in target.program.nodes if n.line is not None and n.op not in ENCODINGS]
        assert 3 <= len(ops) <= 4
        assert target.config.d_model <= config.max_d_model and target.config.d_mlp <= config.max_neurons


def test_accepted_programs_do_something() -> None:
    ids, lengths = hash_inputs(5, 5)
    for seed in range(40):
        program = sample_program(seed)
        out = program.run_batch(ids, lengths)
        values = [v for row, n in zip(out, lengths, strict=True) for v in row[:n]]
        assert len(set(values)) > 1
        tokens = [i for row, n in zip(ids, lengths, strict=True) for i in row[:n]]
        assert values != tokens
        assert values != [i for n in lengths for i in range(n)]


def test_other_vocabularies() -> None:
    program = sample_program(3, SamplerConfig(vocab=("a", "b", "c"), max_seq_len=8, causal=True))
    assert program.vocab == ("a", "b", "c") and program.causal and program.max_seq_len == 8


@pytest.mark.parametrize(
    "fields", [{"min_ops": 0}, {"min_ops": 5, "max_ops": 4}, {"vocab_size": 1}, {"weights": {"mop": 1.0}}]
)
def test_refused_configurations(fields: dict[str, object]) -> None:
    with pytest.raises(InputError):
        SamplerConfig(**fields)  # type: ignore[arg-type]


def test_giving_up_is_an_error() -> None:
    with pytest.raises(InputError, match="no program accepted"):
        sample_program(0, SamplerConfig(max_d_model=2, max_draws=5))


def test_sampling_is_fast() -> None:
    start = time.perf_counter()
    for seed in range(20):
        sample_compiled(seed)
    assert time.perf_counter() - start < 20  # 0.2 s on a free core
