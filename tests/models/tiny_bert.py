"""A small BERT made on the spot."""

import json
from pathlib import Path

import torch
import transformers

WORDS = "the lungs are clear no effusion heart is enlarged small left right nodule seen .".split()


def write_bert(folder: Path, *, seed: int = 0, **settings: object) -> Path:
    """A BERT of 2 layers with a vocabulary of its own, as transformers saves it."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=48,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer = transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=48)
    tokenizer.save_pretrained(folder)
    if settings:
        written = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(written | settings))
    return folder
