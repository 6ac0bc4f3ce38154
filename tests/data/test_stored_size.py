import json
import os

import numpy as np
import pandas as pd
import pytest

from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.feeds import BatchReader
from mflag.data.images import read_image
from mflag.data.index_stream import IndexStream
from mflag.data.lesions import runs_to_mask
from mflag.data.manifest import STORED_SIZES, open_prepared
from mflag.data.phantom import generate_study
from mflag.data.preparing import prepare
from mflag.errors import InputError


@pytest.mark.parametrize("size", STORED_SIZES)
def test_images_are_stored_at_the_size_asked_for(csv_dataset, size):
    config = csv_dataset(10)
    config.stored_size = size
    prepared = prepare(config)
    assert prepared.images.shape == (10, size, size)
    assert (prepared.image_size, prepared.info["image_size"]) == (size, size)
    for row in (0, 9):
        expected = read_image(f"{config.root}/{prepared.manifest['id'][row]}", size)
        assert np.array_equal(prepared.images[row], expected)


def test_a_rejected_image_leaves_no_gap(csv_dataset):
    config = csv_dataset(20)
    config.stored_size = 320
    with open(f"{config.root}/004.png", "r+b") as file:
        file.truncate(30)
    prepared = prepare(config)
    assert prepared.images.shape == (19, 320, 320)
    assert np.array_equal(prepared.images[4], read_image(f"{config.root}/005.png", 320))


def test_another_size_in_the_same_folder_is_refused(csv_dataset):
    config = csv_dataset(4)
    prepare(config)
    config.stored_size = 512
    with pytest.raises(InputError, match=r"other options \(image_size 256, now 512\)"):
        prepare(config)


@pytest.mark.parametrize("size", [0, 255, 448, 1024])
def test_other_sizes_are_refused_with_those_there_are(csv_dataset, size):
    config = csv_dataset(4)
    config.stored_size = size
    with pytest.raises(InputError, match=f"stored_size is {size}; choose one of 224, 256, 320, 51"):
        prepare(config)


def test_a_file_shorter_than_its_manifest_is_refused_with_the_size_it_needs(csv_dataset):
    config = csv_dataset(4)
    config.stored_size = 320
    images = prepare(config).path / "images.u8"
    os.truncate(images, images.stat().st_size - 1)
    with pytest.raises(InputError, match=r"cut short: 409599 bytes, but 4 images of 320 x 320"):
        open_prepared(config.out)


@pytest.mark.parametrize("size", [0, 300, None, "256"])
def test_a_size_that_prepare_never_writes_is_damage(csv_dataset, size):
    file = prepare(csv_dataset(4)).path / "prepared.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps(info | {"image_size": size}))
    with pytest.raises(InputError, match="prepared.json is damaged .image_size"):
        open_prepared(file.parent)


def test_lesions_stay_on_the_grid_of_256(tmp_path):
    dataset = DatasetConfig(name="phantom", size=6, seed=3)
    config = PrepareConfig(dataset=dataset, out=str(tmp_path / "out"), workers=1, stored_size=512)
    assert prepare(config).images.shape == (6, 512, 512)
    table = pd.read_parquet(tmp_path / "out" / "lesions.parquet")
    drawn = [lesion for index in range(6) for lesion in generate_study(3, index).lesions]
    masks = [runs_to_mask(runs, (256, 256)) for runs in table["runs"].to_numpy()]
    assert len(masks) == len(drawn) > 0
    assert all(np.array_equal(m, lesion.mask) for m, lesion in zip(masks, drawn, strict=True))


@pytest.mark.parametrize(
    ("stored", "image_size", "side"), [(512, 448, 512), (512, 224, 256), (320, 224, 320),
                                       (224, 224, 224), (224, 64, 112)],
)  # fmt: skip
def test_training_reads_the_smallest_level_that_is_large_enough(
    csv_dataset, stored, image_size, side
):
    config = csv_dataset(20)
    config.stored_size = stored
    prepared = prepare(config)
    rows = prepared.rows("train")
    reader = BatchReader(prepared, IndexStream(len(rows), 3, seed=0), image_size)
    batch = reader.read(1)
    assert batch.images.shape == (3, 1, side, side)
    shrink = stored // side
    boxes = prepared.images[batch.rows].reshape(3, side, shrink, side, shrink).astype(int)
    assert np.array_equal(batch.images[:, 0].numpy(), np.floor(boxes.mean((2, 4)) + 0.5))
