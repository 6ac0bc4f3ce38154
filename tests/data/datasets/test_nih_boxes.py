import os

import pandas as pd
import pytest

from mflag.data.datasets.nih_boxes import read_nih_boxes
from mflag.data.preparing import prepare
from mflag.errors import InputError
from tests.data.datasets.label_trees import BOX_HEADER, make_nih, write_lines

IMAGES = pd.Series(["00000001_000.png", "00000002_000.png"])


def read_lines(tmp_path, *lines, header=BOX_HEADER):
    write_lines(tmp_path / "BBox_List_2017.csv", [header, *lines])
    return read_nih_boxes(tmp_path / "BBox_List_2017.csv", IMAGES)


def test_boxes_are_scaled_to_the_prepared_image_and_kept_at_their_source(tmp_path):
    box = read_lines(tmp_path, "00000001_000.png,Mass,512.0,256.0,128.5,64.0").iloc[0]
    assert box[["x", "y", "width", "height"]].tolist() == [128.0, 64.0, 32.125, 16.0]
    assert box["source_box"] == [512.0, 256.0, 128.5, 64.0]
    assert (box["source_height"], box["source_width"]) == (1024, 1024)


def test_infiltrate_gets_the_label_s_name(tmp_path):
    boxes = read_lines(tmp_path, "00000001_000.png,Infiltrate,1,1,2,2,,,")
    assert boxes["finding"].tolist() == ["Infiltration"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("00000001_000.png,Mass,1000,0,25,10", r"box \[1000.0, 0.0, 25.0, 10.0\] .* inside 1024"),
        ("00000001_000.png,Mass,-1,0,25,10", r"box \[-1"),
        ("00000001_000.png,Mass,1,0,-25,10", r"box \[1.0, 0.0, -25.0"),
        ("00000001_000.png,Mass,1,0,0,10", r"box \[1.0, 0.0, 0.0"),
        ("00000001_000.png,Mass,1,,5,10", r"box \[1.0, nan"),
        ("00000001_000.png,Mass,1,a,5,10", r"box \[1.0, nan"),
        ("00000001_000.png,Tumour,1,1,5,10", "Finding Label is 'Tumour' in row 1"),
        ("00000009_000.png,Mass,1,1,5,10", "Image Index is '00000009_000.png' .*label table"),
    ],
)
def test_boxes_that_cannot_be_are_shown(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        read_lines(tmp_path, line)


def test_another_header_is_shown(tmp_path):
    with pytest.raises(InputError, match=r"'x', 'y', 'w', 'h'; wanted are also 'Bbox \[x', 'h\]'"):
        read_lines(
            tmp_path, "00000001_000.png,Mass,1,1,5,10", header="Image Index,Finding Label,x,y,w,h"
        )


def test_lesions_are_those_of_the_images_that_were_kept(tmp_path):
    config = make_nih(tmp_path / "root")
    prepared = prepare(config)
    lesions = pd.read_parquet(prepared.path / "lesions.parquet")
    assert lesions["finding"].tolist() == ["Infiltration", "Mass"]
    assert set(lesions["id"]) <= set(prepared.manifest["id"])
    assert lesions["source_box"][0].tolist() == [512.0, 256.0, 128.5, 64.0]
    assert [len(runs) for runs in lesions["runs"]] == [0, 0]
    os.remove(f"{config.root}/images_002/images/00000001_001.png")
    config.overwrite = True
    assert len(pd.read_parquet(prepare(config).path / "lesions.parquet")) == 0


def test_without_the_box_table_there_are_no_lesions_and_a_note(tmp_path, capsys):
    config = make_nih(tmp_path / "root")
    os.remove(f"{config.root}/BBox_List_2017.csv")
    prepared = prepare(config)
    assert not (prepared.path / "lesions.parquet").exists()
    assert "note: BBox_List_2017.csv is not in root" in capsys.readouterr().err
    assert any("BBox_List_2017.csv" in remark for remark in prepared.info["remarks"])
