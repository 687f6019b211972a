"""Shape and kind of a target: the configuration saved beside its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class TargetConfig:
    """Shape and kind of a target. Field names are TransformerLens's where it has one.

    The fields up to `pad_token` describe every target that is made here. Those after it, from `default_prepend_bos` on,
    are for other people's models; a target made here has their defaults, and its JSON leaves them out.
    """

    d_model: int
    """Width of the residual stream."""
    n_layers: int
    """Blocks of attention followed by an MLP."""
    n_heads: int
    """Heads of the layer that has most."""
    d_head: int
    """Width of a head, of the layer whose heads are widest."""
    d_mlp: int
    """Neurons of the layer that has most."""
    n_ctx: int
    """Positions, the leading BOS included."""
    d_vocab: int
    """Input tokens, BOS and PAD included."""
    d_vocab_out: int
    """Output tokens; 1 for a numerical output."""
    act_fn: Literal["relu", "gelu", "gelu_new", "silu"] = "relu"
    """The MLP's activation; "gelu_new" is GELU by its tanh formula, within 5e-4 of "gelu"; "silu" is x sigmoid(x)."""
    normalization_type: Literal["LN", "LNPre", "RMS", "RMSPre"] | None = None
    """None, LayerNorm or RMSNorm before each read; "Pre" is without gain and bias."""
    attention_dir: Literal["bidirectional", "causal"] = "bidirectional"
    """Whether a position sees later ones."""
    eps: float = 1e-5
    """Added to the variance by the normalisation."""
    read_out: Literal["all", "first", "last"] = "all"
    """Where answers are read: at every position after BOS, or one a sequence, at BOS or at its last token."""
    output: Literal["categorical", "numerical"] = "categorical"
    """Arg-max over the output vocabulary, or the single logit as a number."""
    pad_token: int | None = None
    """Input token that no position attends to."""
    default_prepend_bos: bool = True
    """Whether sequences start with BOS; token 0 is then BOS and token 1 PAD. False: sequences are as they are given."""
    positional_embedding_type: Literal["standard", "rotary", "none"] = "standard"
    """W_pos is added to the embeddings, or queries and keys are turned by their position, or neither."""
    rotary_dim: int | None = None
    """Leading entries of a head that are turned, an even number; None is all of d_head."""
    rotary_base: float = 10_000.0
    """Pair i of a head's r turned entries turns by rotary_base^(-2i/r) radians a position."""
    rotary_adjacent_pairs: bool = False
    """Whether entries 2i and 2i+1 make a pair (GPT-J), and not i and i + r/2 (GPT-NeoX, Llama)."""
    rotary_scaling_factor: float = 1.0
    """All turns are divided by it (linear scaling)."""
    use_NTK_by_parts_rope: bool = False
    """Whether slow turns are divided by NTK_by_parts_factor (Llama 3)."""
    NTK_by_parts_low_freq_factor: float = 1.0
    """Pairs that turn round fewer times than this in NTK_original_ctx_len positions are slow."""
    NTK_by_parts_high_freq_factor: float = 4.0
    """Pairs that turn round more often than this are left alone; between the two the divisor is interpolated."""
    NTK_by_parts_factor: float = 8.0
    """Divisor of slow turns."""
    NTK_original_ctx_len: int = 8_192
    """Positions that the model was first trained on."""
    n_key_value_heads: int | None = None
    """Heads of W_K and W_V, each read by n_heads / n_key_value_heads query heads in turn; None is n_heads."""
    attn_scale: float | None = None
    """Scores are divided by it; None is sqrt(d_head)."""
    use_qk_norm: bool = False
    """Whether queries and keys have an RMSNorm with gain over d_head (Qwen3)."""
    gated_mlp: bool = False
    """Whether neurons are act_fn(x W_gate + b_gate) * (x W_in + b_in)."""
    parallel_attn_mlp: bool = False
    """Whether the MLP reads what attention reads, not what it wrote (GPT-NeoX)."""
    qkv_bias: bool = True
    """Whether there are b_Q, b_K and b_V."""
    attn_out_bias: bool = True
    """Whether there is b_O."""
    mlp_bias: bool = True
    """Whether there are b_in and b_out, and b_gate of a gated MLP."""
    unembed_bias: bool = True
    """Whether there is b_U."""
    normalize_states: bool = False
    """Whether residual states are divided by their root mean square after the embedding and after each block (nGPT)."""
    tie_word_embeddings: bool = False
    """Whether W_U is W_E transposed, and not stored."""

    def extensions(self) -> dict[str, Any]:
        """The fields for other people's models that do not have their default; empty for a target made here."""
        names = [field.name for field in fields(self)]
        later = fields(self)[names.index("default_prepend_bos") :]
        return {f.name: getattr(self, f.name) for f in later if getattr(self, f.name) != f.default}

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object, without those for other people's models that have their default."""
        values, extensions = asdict(self), self.extensions()
        names = list(values)
        return {name: values[name] for name in names[: names.index("default_prepend_bos")]} | extensions
