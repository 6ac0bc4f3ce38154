import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from mflag.data import text_lsa
from mflag.data.text_lsa import embed_with_lsa
from mflag.errors import InputError


def reports(count: int) -> list[str]:
    random = np.random.default_rng(0)
    words = [f"word{number}" for number in range(60)]
    return [" ".join(random.choice(words, 12)) for _ in range(count)]


@pytest.mark.parametrize(("count", "min_df"), [(999, 1), (1000, 3)], ids=["small", "large"])
def test_rare_terms_are_dropped_only_from_large_sets(count, min_df):
    training = reports(count)
    tfidf = TfidfVectorizer(ngram_range=(1, 2), min_df=min_df, sublinear_tf=True).fit(training)
    assert embed_with_lsa(training[:3], training, 8).vocabulary == list(
        tfidf.get_feature_names_out()
    )


def test_vectors_are_those_of_the_truncated_svd():
    training = reports(50)
    tfidf = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    expected = TruncatedSVD(8, random_state=0).fit_transform(tfidf.fit_transform(training))
    np.testing.assert_allclose(
        embed_with_lsa(training, training, 8).vectors, expected, rtol=0, atol=1e-8
    )


def test_of_many_training_reports_some_are_fitted_on_evenly_spaced(monkeypatch):
    monkeypatch.setattr(text_lsa, "FITTED_ON", 21)
    training = reports(61)
    some = embed_with_lsa(training, training, 8)
    again = embed_with_lsa(training, training[::3], 8)
    assert some.vocabulary == again.vocabulary and np.array_equal(some.vectors, again.vectors)


def test_texts_are_embedded_in_slices_of_any_size(monkeypatch):
    training = reports(50)
    whole = embed_with_lsa(training, training, 8).vectors
    monkeypatch.setattr(text_lsa, "_AT_A_TIME", 7)
    np.testing.assert_allclose(embed_with_lsa(training, training, 8).vectors, whole, atol=1e-12)


@pytest.mark.parametrize(
    ("training", "most", "dim"),
    [
        (reports(20), 256, 19),
        (reports(20), 7, 7),
        (["one two", "two three", "one three"] * 9, 256, 5),
    ],
    ids=["reports", "asked for", "terms"],
)
def test_dimensions_are_bounded_by_reports_and_terms(training, most, dim):
    assert embed_with_lsa(training, training, most).vectors.shape[1] == dim


def test_a_text_of_unknown_words_is_all_zero():
    assert not embed_with_lsa(["unheard of"], reports(20), 8).vectors.any()


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (["a report"] * 5, "1 distinct reports"),
        (["x", "y"], "no words for text=lsa"),
        (["word", "Word"], "share one single word"),
    ],
    ids=["one report", "no words", "one word"],
)
def test_reports_that_cannot_be_told_apart_are_refused(training, message):
    with pytest.raises(InputError, match=message):
        embed_with_lsa(training, training, 8)
