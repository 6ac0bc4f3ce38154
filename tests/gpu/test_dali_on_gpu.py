"""Feed ``dali`` on the GPU: batches that never were on the host, near the cache's."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mflag.config.feed import FeedConfig
from mflag.config.prepare import DatasetConfig, PrepareConfig
from mflag.data.feeds import BatchReader, open_feed
from mflag.data.index_stream import IndexStream
from mflag.data.preparing import prepare

pytestmark = pytest.mark.gpu
COUNT, BATCH = 32, 8


@pytest.fixture
def prepared(tmp_path):
    random = np.random.default_rng(0)
    for number in range(COUNT):
        coarse = Image.fromarray(random.integers(0, 256, (9, 7), np.uint8))
        kind = "png" if number % 4 == 0 else "jpg"
        image = coarse.resize((500 + number, 600), Image.Resampling.BICUBIC)
        if number % 8 == 1:
            image = Image.fromarray(np.asarray(image, np.uint16) * 200)
            kind = "png"
        image.save(tmp_path / f"{number}.{kind}")
    names = sorted(path.name for path in tmp_path.iterdir())
    table = pd.DataFrame({"image": names, "text": "A report.", "split": "train"})
    table.to_csv(tmp_path / "studies.csv", index=False)
    dataset = DatasetConfig(
        name="csv", image_column="image", text_column="text", split_column="split"
    )
    return prepare(
        PrepareConfig(
            dataset=dataset,
            root=str(tmp_path), csv=str(tmp_path / "studies.csv"), out=str(tmp_path / "out"),
        )
    )  # fmt: skip


def test_batches_stay_on_the_gpu_and_are_near_the_cache(prepared):
    device = torch.device("cuda")
    reader = BatchReader(prepared, IndexStream(COUNT, BATCH, seed=0), 224, device=device)
    steps = range(12)
    feed = open_feed(FeedConfig("dali", workers=4), reader, steps)
    kept = [(batch.images, batch.rows) for batch in feed]  # DALI must not reuse what is held
    feed.close()
    for step, (images, rows) in zip(steps, kept, strict=True):
        wanted = reader.read(step)
        assert images.is_cuda and torch.equal(rows, wanted.rows)
        away = (images.cpu().int() - wanted.images.int()).abs().float()
        assert away.mean() <= 1.5
