"""Report vectors without a language model: TF-IDF and a truncated SVD."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sklearn
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from mflag.errors import InputError

NGRAMS = (1, 2)
MIN_DOCUMENTS = 3  # a term must be in so many reports; 1 for small sets
SMALL_SET = 1000
FITTED_ON = 100_000  # reports at most: the time of the SVD grows with them
REVISION = f"scikit-learn {sklearn.__version__}, fitted on {FITTED_ON} reports at most"
_AT_A_TIME = 65_536


@dataclass(frozen=True)
class LsaVectors:
    """Vectors of reports and what they were made with.

    Attributes:
        vectors: (m, k) float64; all zero for a text without a known term.
        vocabulary: terms, in the order of ``idf``.
        idf: (len(vocabulary),) float64.
    """

    vectors: np.ndarray
    vocabulary: list[str]
    idf: np.ndarray


def embed_with_lsa(texts: Sequence[str], training: Sequence[str], dim: int) -> LsaVectors:
    """Fit on the training reports and embed all texts.

    Words and word pairs, sublinear TF-IDF, then min(dim, terms - 1, reports - 1) dimensions of a
    truncated SVD (Deerwester et al., 1990), seeded. Of more than ``FITTED_ON`` training reports so
    many are taken, evenly spaced.

    Args:
        texts: what is embedded.
        training: the reports of the training split, repeats included.
        dim: most dimensions.

    Raises:
        InputError: fewer than 2 distinct training reports, or too few terms.
    """
    if dim < 1:
        raise InputError(f"text.dim is {dim}; give 1 or more")
    distinct = len(set(training))
    if distinct < 2:
        raise InputError(
            f"the training split has {distinct} distinct reports; text=lsa needs 2 or more"
        )
    if len(training) > FITTED_ON:
        places = np.linspace(0, len(training) - 1, FITTED_ON).round().astype(int)
        training = [training[place] for place in places]
    tfidf = TfidfVectorizer(
        ngram_range=NGRAMS,
        min_df=MIN_DOCUMENTS if len(training) >= SMALL_SET else 1,
        sublinear_tf=True,
    )
    try:
        counts = tfidf.fit_transform(training)
    except ValueError as error:  # no term is left
        raise InputError(
            f"the training reports have no words for text=lsa ({error}); check the text column"
        ) from error
    rank = min(dim, counts.shape[1] - 1, counts.shape[0] - 1)
    if rank < 1:
        raise InputError("the training reports share one single word; text=lsa needs more words")
    svd = TruncatedSVD(rank, random_state=0).fit(counts)
    vectors = np.empty((len(texts), rank))
    for begin in range(0, len(texts), _AT_A_TIME):
        some = texts[begin : begin + _AT_A_TIME]
        vectors[begin : begin + len(some)] = svd.transform(tfidf.transform(some))
    return LsaVectors(vectors, tfidf.get_feature_names_out().tolist(), tfidf.idf_)
