"""A sentence model of a few words, as small as one can be, in a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

WORDS = ["[UNK]", "red", "green", "hat", "shoe"]


def model(folder: Path, seed: int = 0, width: int = 3) -> str:
    """Write a model whose text is the mean of the numbers of its words."""
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        numbers = torch.randn(len(WORDS), width).numpy()
    SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=numbers)], device="cpu"
    ).save(str(folder))
    return str(folder)
