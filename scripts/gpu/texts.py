"""Random texts, as tokens, and the beginnings of them whose next token is looked at."""

import random

SEED = 7


def texts(sizes, vocabulary):
    """So many texts of lengths spread evenly, of tokens that come as they like."""
    chance = random.Random(SEED)
    first, last, many = sizes["shortest"], sizes["longest"], sizes["texts"]
    lengths = [first + (last - first) * number // max(many - 1, 1) for number in range(many)]
    return [[chance.randrange(vocabulary) for _ in range(length)] for length in lengths]


def cuts(sizes, text):
    """Lengths of the beginnings of one text, the whole of it included."""
    first, many = sizes["shortest"], sizes["cuts"]
    return sorted({first + (len(text) - first) * (number + 1) // many for number in range(many)})


def beginnings(sizes, vocabulary):
    """All of them, text by text."""
    return [text[:cut] for text in texts(sizes, vocabulary) for cut in cuts(sizes, text)]
