"""Grey images as DICOM files, in the ways that real ones are stored."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from mflag.data.phantom_formats.facts import Facts
from mflag.data.phantom_formats.image_files import jpeg_bytes


@dataclass(frozen=True)
class Storage:
    """How pixels lie in the file.

    Attributes:
        bits: 8, or 12 in 16 with window and rescale.
        is_inverted: MONOCHROME1: small is bright.
        is_jpeg: JPEG baseline, as RSNA and SIIM have it; 8 bits only.
    """

    bits: int = 8
    is_inverted: bool = False
    is_jpeg: bool = False


STORAGES = (
    Storage(is_jpeg=True),
    Storage(),
    Storage(is_inverted=True),
    Storage(bits=12),
    Storage(is_jpeg=True),
    Storage(bits=12, is_inverted=True),
)


def storage_of(index: int) -> Storage:
    """How study ``index`` is stored."""
    return STORAGES[index % len(STORAGES)]


def uid(facts: Facts, what: str) -> str:
    """A UID of this study that depends on seed, index and ``what`` alone."""
    return str(generate_uid(entropy_srcs=[facts.name(what)]))


def dicom_bytes(image: np.ndarray, facts: Facts, patient: str, instance: str) -> bytes:
    """Encode a radiograph as a DICOM file.

    Args:
        image: (H, W) uint8, dense is bright.
        facts: the study.
        patient: its PatientID.
        instance: its SOPInstanceUID.
    """
    storage = storage_of(facts.index)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = JPEGBaseline8Bit if storage.is_jpeg else ExplicitVRLittleEndian
    dataset = _header(facts, patient, instance)
    dataset.file_meta = meta
    _add_pixels(dataset, image, storage)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _header(facts: Facts, patient: str, instance: str) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = UID(instance)
    dataset.StudyInstanceUID = UID(uid(facts, "study"))
    dataset.SeriesInstanceUID = UID(uid(facts, "series"))
    dataset.StudyDate = "19010101"
    dataset.StudyTime = "000000.00"
    dataset.Modality = "CR"
    dataset.ConversionType = "WSD"
    dataset.SeriesDescription = f"view: {facts.position}"
    dataset.PatientName = dataset.PatientID = patient
    dataset.PatientSex = facts.sex
    dataset.PatientAge = f"{facts.age:03}Y"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = facts.position
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    return dataset


def _add_pixels(dataset: Dataset, image: np.ndarray, storage: Storage) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if storage.is_inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape
    dataset.PixelSpacing = [0.168, 0.168]
    dataset.BitsAllocated = 8 if storage.bits == 8 else 16
    dataset.BitsStored, dataset.HighBit = storage.bits, storage.bits - 1
    dataset.PixelRepresentation = 0
    pixels = image
    if storage.bits == 12:
        pixels = image.astype("<u2") * np.uint16(16) + np.uint16(15)
        dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
        dataset.RescaleIntercept, dataset.RescaleSlope = 0, 1
    if storage.is_inverted:
        pixels = pixels.dtype.type(2**storage.bits - 1) - pixels
    if storage.is_jpeg:
        dataset.LossyImageCompression = "01"
        dataset.PixelData = encapsulate([jpeg_bytes(pixels)])
        return
    dataset.PixelData = pixels.tobytes()
