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


def write_masked_lm(folder: Path, *, seed: int = 0, cxr: bool = False) -> Path:
    """The BERT of ``write_bert`` inside a masked-LM model, as a pickled .bin and ``vocab.txt``.

    Args:
        folder: made when missing.
        seed: of the weights.
        cxr: with the projection head, the config and the remote code of CXR-BERT specialized.
    """
    plain = transformers.BertModel.from_pretrained(write_bert(folder / "trunk", seed=seed))
    config = json.loads((folder / "trunk" / "config.json").read_text())
    model = transformers.BertForMaskedLM(plain.config)
    model.bert.load_state_dict(plain.state_dict(), strict=False)
    tensors = dict(model.state_dict())
    tensors["bert.embeddings.position_ids"] = torch.arange(48)[None]
    if cxr:
        config |= {"model_type": "cxr-bert", "projection_size": 16, "hidden_dropout_prob": 0.25}
        config["auto_map"] = {"AutoModel": "modeling_cxrbert.CXRBertModel"}
        (folder / "modeling_cxrbert.py").write_text("raise RuntimeError('remote code ran')")
        tensors["cls_projection_head.dense_to_hidden.weight"] = torch.randn(16, 32)
        tensors["cls_projection_head.LayerNorm.weight"] = torch.randn(16)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text((folder / "trunk" / "vocab.txt").read_text())
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder
