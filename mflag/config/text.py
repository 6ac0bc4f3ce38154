"""The text encoder: frozen, or with its last layers in training."""

from dataclasses import dataclass

from mflag.config.option import option


@dataclass
class TextConfig:
    """Which vectors stand for the reports."""

    name: str = option(
        "lsa",
        "lsa (TF-IDF and SVD of the reports), minilm (extra: demo), cxr_bert_general, "
        "cxr_bert_specialized, bio_clinicalbert, or folder",
    )
    path: str | None = option(
        None, "folder of a BERT-like model for transformers; wins over lsa and minilm"
    )
    download: bool = option(False, "fetch a published model from the hub when path is null")
    revision: str | None = option(None, "commit, tag or branch for download; null is main")
    pooling: str = option("mean", "one vector of many tokens: mean or cls; not used by lsa")
    max_length: int = option(256, "tokens kept of a report; not used by lsa")
    center: bool = option(False, "subtract the training mean before normalising")
    unfreeze_last: int = option(
        0, "last layers that train, at the vision learning rate; 0 is frozen (language models)"
    )
    keep_lower: bool = option(
        False, "with unfreeze_last: compute the frozen layers once, keep 4 * tokens * D bytes"
    )
    dim: int = option(256, "most dimensions of lsa; a language model has its own")
