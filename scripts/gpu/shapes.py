"""Shapes of models, without weights, and what follows from a shape alone: bytes and matrix products."""

BF16 = 2
QWEN2 = dict(
    architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu", max_position_embeddings=32768,
    rms_norm_eps=1e-6, rope_theta=1000000.0, use_sliding_window=False, attention_dropout=0.0, tie_word_embeddings=False,
    torch_dtype="bfloat16",
)
# As their config.json says, on the hub.
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
    # To try the script itself, on any machine.
    "tiny": QWEN2 | dict(
        hidden_size=128, intermediate_size=384, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=512,
    ),
}


def head_size(shape):
    return shape.get("head_dim") or shape["hidden_size"] // shape["num_attention_heads"]


def products(shape):
    """(inputs, outputs, how often) of the matrix products of a step; the last is the head's."""
    width, size = shape["hidden_size"], head_size(shape)
    heads, kv_heads, layers = shape["num_attention_heads"], shape["num_key_value_heads"], shape["num_hidden_layers"]
    return [
        (width, (heads + 2 * kv_heads) * size, layers),
        (heads * size, width, layers),
        (width, 2 * shape["intermediate_size"], layers),
        (shape["intermediate_size"], width, layers),
        (width, shape["vocab_size"], 1),
    ]


def product_bytes(shape):
    """What a step reads of weights, in bf16."""
    return sum(inputs * outputs * times for inputs, outputs, times in products(shape)) * BF16


def kv_bytes(shape):
    """Keys and values of one token, in bf16."""
    return 2 * shape["num_hidden_layers"] * shape["num_key_value_heads"] * head_size(shape) * BF16


def least_gain(shape, k, groups, prompt, generated):
    """By the bytes of a decode step alone: without sharing, over with. On average half of the text is generated."""
    weights, token = product_bytes(shape), kv_bytes(shape)
    own = k * groups * generated / 2 * token
    return (weights + own + k * groups * prompt * token) / (weights + own + groups * prompt * token)
