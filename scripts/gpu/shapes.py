"""Shapes of models, without weights, and what follows from a shape alone: bytes and matrix products."""

from dataclasses import dataclass

BF16 = 2
QWEN2 = dict(
    architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu", max_position_embeddings=32768,
    rms_norm_eps=1e-6, rope_theta=1000000.0, use_sliding_window=False, attention_dropout=0.0, tie_word_embeddings=False,
    torch_dtype="bfloat16",
)
DEEPSEEK_V2 = dict(
    architectures=["DeepseekV2ForCausalLM"], model_type="deepseek_v2", hidden_act="silu", attention_bias=False,
    attention_dropout=0.0, q_lora_rank=None, first_k_dense_replace=1, moe_layer_freq=1, norm_topk_prob=False,
    routed_scaling_factor=1.0, scoring_func="softmax", topk_method="greedy", n_group=1, topk_group=1,
    rms_norm_eps=1e-6, rope_theta=10000.0, tie_word_embeddings=False, torch_dtype="bfloat16",
)
# From their config.json on the hub.
SHAPES = {
    "qwen2.5-7b": QWEN2 | dict(
        hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
        vocab_size=152064,
    ),
    "qwen2.5-1.5b": QWEN2 | dict(
        hidden_size=1536, intermediate_size=8960, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2,
        vocab_size=151936, tie_word_embeddings=True,
    ),
    "llama3-8b": dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", max_position_embeddings=8192,
        rms_norm_eps=1e-5, rope_theta=500000.0, attention_bias=False, mlp_bias=False, tie_word_embeddings=False,
        torch_dtype="bfloat16", hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, vocab_size=128256,
    ),
    # The base of DeepSeek-GRM-16B. That model's 40 times longer context is ignored: the measured one is shorter.
    "deepseek-v2-lite": DEEPSEEK_V2 | dict(
        hidden_size=2048, intermediate_size=10944, num_hidden_layers=27, num_attention_heads=16, num_key_value_heads=16,
        kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, n_routed_experts=64,
        n_shared_experts=2, num_experts_per_tok=6, moe_intermediate_size=1408, max_position_embeddings=4096,
        vocab_size=102400,
    ),
    # For trying the script itself, on any machine.
    "tiny": QWEN2 | dict(
        hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=512,
    ),
    "tiny-deepseek": DEEPSEEK_V2 | dict(
        hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4,
        kv_lora_rank=32, qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=32, n_routed_experts=8,
        n_shared_experts=2, num_experts_per_tok=3, moe_intermediate_size=32, max_position_embeddings=4096,
        vocab_size=512,
    ),
}


@dataclass
class Products:
    """Products of one kind in a step: `layers` layers multiply `matrices` matrices, of outputs x inputs, by some rows
    each."""

    inputs: int
    outputs: int
    layers: int
    matrices: int = 1
    # Of the rows of a step, those that each matrix processes.
    share: float = 1.0

    @property
    def weights(self):
        return self.inputs * self.outputs * self.layers * self.matrices

    def height(self, rows):
        return max(1, round(rows * self.share))


def head_size(shape):
    return shape.get("head_dim") or shape["hidden_size"] // shape["num_attention_heads"]


def products(shape, rows=None):
    """The products of a step with this many rows; without a number, of a step that uses every weight. The last is the
    head's."""
    width, layers = shape["hidden_size"], shape["num_hidden_layers"]
    heads, inner = shape["num_attention_heads"], shape["intermediate_size"]
    head = Products(width, shape["vocab_size"], 1)
    if "kv_lora_rank" not in shape:
        size = head_size(shape)
        return [
            Products(width, (heads + 2 * shape["num_key_value_heads"]) * size, layers),
            Products(heads * size, width, layers), *gated(width, inner, layers), head,
        ]
    rank, rope, value = shape["kv_lora_rank"], shape["qk_rope_head_dim"], shape["v_head_dim"]
    plain, dense = shape["qk_nope_head_dim"], shape["first_k_dense_replace"]
    count, used = shape["n_routed_experts"], shape["num_experts_per_tok"]
    # With random routing, some experts get no row if there are few rows.
    busy = count if rows is None else max(used, round(count * (1 - (1 - used / count) ** rows)))
    one = shape["moe_intermediate_size"]
    return [
        Products(width, heads * (plain + rope) + rank + rope, layers),
        Products(plain, rank, layers, heads), Products(rank, value, layers, heads),
        Products(heads * value, width, layers), *gated(width, inner, dense),
        Products(width, count, layers - dense), *gated(width, shape["n_shared_experts"] * one, layers - dense),
        *gated(width, one, layers - dense, busy, used / busy), head,
    ]


def gated(width, inner, layers, matrices=1, share=1.0):
    """Products of feed-forward networks."""
    return [
        Products(width, 2 * inner, layers, matrices, share), Products(inner, width, layers, matrices, share),
    ]


def product_bytes(shape, rows=None):
    """Bytes of weights that a step reads, in bf16."""
    return sum(kind.weights for kind in products(shape, rows)) * BF16


def kv_bytes(shape):
    """Bytes of keys and values per token, in bf16; with latent attention, one vector for both."""
    layers = shape["num_hidden_layers"]
    if "kv_lora_rank" in shape:
        return layers * (shape["kv_lora_rank"] + shape["qk_rope_head_dim"]) * BF16
    return 2 * layers * shape["num_key_value_heads"] * head_size(shape) * BF16


def least_gain(shape, k, groups, prompt, generated):
    """Expected gain by the bytes of a decode step alone: without sharing divided by with sharing. On average half of
    the text is generated."""
    weights, token = product_bytes(shape, k * groups), kv_bytes(shape)
    own = k * groups * generated / 2 * token
    return (weights + own + k * groups * prompt * token) / (weights + own + groups * prompt * token)
