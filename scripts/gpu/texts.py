"""Random texts, as tokens, and the beginnings whose next token is examined."""

import random

SEED = 7


def texts(sizes, vocabulary):
    """This many random texts, with evenly spread lengths."""
    chance = random.Random(SEED)
    first, last, many = sizes["shortest"], sizes["longest"], sizes["texts"]
    lengths = [first + (last - first) * number // max(many - 1, 1) for number in range(many)]
    return [[chance.randrange(vocabulary) for _ in range(length)] for length in lengths]


def cuts(sizes, text):
    """Lengths of the beginnings of one text, including the whole text."""
    first, many = sizes["shortest"], sizes["cuts"]
    return sorted({first + (len(text) - first) * (number + 1) // many for number in range(many)})


def beginnings(sizes, vocabulary):
    """The beginnings of all texts, one text after another."""
    return [text[:cut] for text in texts(sizes, vocabulary) for cut in cuts(sizes, text)]
