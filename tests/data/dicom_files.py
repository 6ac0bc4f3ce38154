"""Small DICOM files for tests."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

CR_IMAGE = UID("1.2.840.10008.5.1.4.1.1.1")


def make_dicom(pixels: np.ndarray, **header: Any) -> Dataset:
    """A grey DICOM of (H, W) integers; ``header`` replaces or adds elements by keyword."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CR_IMAGE
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["test"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CR_IMAGE
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for key, value in header.items():
        setattr(dataset, key, value)
    if "BitsStored" in header:
        dataset.HighBit = header["BitsStored"] - 1
    return dataset


def save_dicom(path: Path, dataset: Dataset) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_dicom(path: Path, pixels: np.ndarray, **header: Any) -> Path:
    return save_dicom(path, make_dicom(pixels, **header))


def write_encapsulated(
    path: Path, pixels: np.ndarray, stream: bytes, syntax: str, **header: Any
) -> Path:
    """The header of ``pixels`` with a compressed stream of any content."""
    dataset = make_dicom(pixels, **header)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    return save_dicom(path, dataset)


def write_jpeg_dicom(path: Path, pixels: np.ndarray, **header: Any) -> Path:
    """As RSNA and SIIM keep theirs: 8 bits, baseline JPEG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return write_encapsulated(path, pixels, stream.getvalue(), JPEGBaseline8Bit, **header)
