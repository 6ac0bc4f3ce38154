import numpy as np

SPLITS = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
UNCERTAIN = [1, 0, -1, np.nan, 1, 0, 1, 0]


def test_labels_follow_the_policy(make_study):
    ones = make_study(SPLITS, policy="ones", **{"label/a": UNCERTAIN})
    ignore = make_study(SPLITS, policy="ignore", **{"label/a": UNCERTAIN})
    assert ones.labels[:4, 0].tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(ignore.labels[:4, 0], [1, 0, np.nan, 0])


def test_counts_tell_what_the_policy_decided(make_study):
    study = make_study(SPLITS, policy="ignore", **{"label/a": UNCERTAIN})
    assert study.counts()["labels"]["a"]["train"] == {
        "positive": 1, "negative": 2, "unknown": 1, "uncertain": 1, "blank": 1,
    }  # fmt: skip


def test_labels_that_the_policy_masks_whole_are_named(make_study):
    columns = {"label/Edema": UNCERTAIN, "label/Fracture": UNCERTAIN}
    study = make_study(SPLITS, policy="mixed", **columns)
    assert (study.names, study.masked) == (["Edema"], ["Fracture"])
    assert study.labels.shape == (8, 1)


def test_devices_of_healthy_images_depend_on_the_dataset(make_study):
    columns = {"label/No Finding": [1.0] * 8, "label/Support Devices": [1.0, 0] * 4}
    kept = make_study(SPLITS, policy="nan", dataset="chexpert", **columns)
    cleared = make_study(SPLITS, policy="nan", dataset="mimic_cxr", **columns)
    assert kept.labels[:2, 1].tolist() == [1, 0] and not cleared.labels[:, 1].any()


def test_drawn_ids_leave_out_draws_of_everything(make_study):
    study = make_study(SPLITS, fractions=(0.5, 1.0), **{"label/a": UNCERTAIN})
    drawn = study.drawn_ids()
    assert drawn["seed"].tolist() == np.repeat(np.arange(5), 2).tolist()
    assert set(drawn["fraction"]) == {0.5} and set(drawn["id"]) <= set("0123")
    assert make_study(SPLITS, **{"label/a": UNCERTAIN}).drawn_ids().empty
