"""The frozen text encoder."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class TextConfig:
    """Which vectors stand for the reports."""

    name: str = option("lsa", "lsa (TF-IDF and SVD of the reports), minilm (extra: demo) or folder")
    path: str | None = option(None, "folder of a BERT-like model for transformers; wins over name")
    pooling: str = option("mean", "one vector of many tokens: mean or cls; not used by lsa")
    max_length: int = option(256, "tokens kept of a report; not used by lsa")
    center: bool = option(False, "subtract the training mean before normalising")
    dim: int = option(256, "most dimensions of lsa; a language model has its own")
