"""Packed tables that a broken download left behind."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from mflag.data.datasets import plain_csv, siim
from mflag.data.datasets.label_tables import read_label_table
from mflag.errors import InputError
from tests.data.challenge_trees import config_of, write_siim

CONTENT = b"image,text\n" + b"".join(b"%d.png,%d\n" % (n, n**5) for n in range(3000))


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, CONTENT)
    return buffer.getvalue()


def garbled(content: bytes) -> bytes:
    return content[:60] + b"\xff" * 200 + content[260:]


DAMAGED = {
    "cut.csv.gz": gzip.compress(CONTENT)[:-500],
    "garbled.csv.gz": garbled(gzip.compress(CONTENT)),
    "plain.csv.gz": CONTENT,
    "cut.csv.zip": zipped("t.csv")[:-200],
    "garbled.csv.zip": garbled(zipped("t.csv")),
    "two.csv.zip": zipped("t.csv", "u.csv"),
    "none.csv.zip": zipped(),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_label_table_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(DAMAGED[name])
    with pytest.raises(InputError, match=f"{name} cannot be read as CSV .*; download it again"):
        read_label_table(tmp_path / name, ["image"], "a release")


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_of_a_user_is_refused(csv_dataset, name):
    config = csv_dataset(1)
    config.csv = str(Path(config.csv).with_name(name))
    Path(config.csv).write_bytes(DAMAGED[name])
    with pytest.raises(InputError, match=f"{name} cannot be read as UTF-8 CSV .*; repair it"):
        plain_csv.read(config)


@pytest.mark.parametrize("name", ["garbled.csv.gz", "cut.csv.zip"])
def test_a_damaged_table_of_masks_is_refused(tmp_path, name):
    root = write_siim(tmp_path, 3)
    (root / "train-rle.csv").unlink()
    table = root / f"train-rle.csv{Path(name).suffix}"
    table.write_bytes(DAMAGED[name])
    with pytest.raises(InputError, match=f"{table.name} cannot be read as CSV"):
        siim.read(config_of("siim", root))
