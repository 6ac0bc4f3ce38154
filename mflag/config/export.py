"""Options of ``python -m mflag.export``."""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore

from mflag.config.option import option


@dataclass
class ExportConfig:
    """Everything that ``mflag.export`` reads."""

    encoder: str | None = option(None, "encoder.safetensors of mflag.train")
    format: str = option("torchvision", "torchvision, timm, smp, ultralytics, onnx or safetensors")
    out: str | None = option(
        None, "file to write; null: encoder.FORMAT.SUFFIX (encoder.onnx) beside the encoder"
    )
    overwrite: bool = option(False, "replace the file that is there")


ConfigStore.instance().store("export_schema", ExportConfig)
