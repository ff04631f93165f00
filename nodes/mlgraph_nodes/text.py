"""Text as numbers: one tensor of fixed size for every string column."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.param import param
from mlgraph.data.arrays import tensors
from mlgraph.data.task import Task
from mlgraph.data.transform import ColumnTransform
from mlgraph.errors import ConfigError, DataError

Texts = NDArray[np.object_]


class _Text(ColumnTransform):
    """What turns every text of a column into numbers; a missing text is an empty one."""

    accepts = frozenset({"string"})

    analyzer: str = param(default="word", choices=("word", "char", "char_wb"))
    ngram_range: tuple[int, int] = param(default=(1, 1), lower=1)
    lowercase: bool = True
    stop_words: str | None = param(default=None, choices=("english", None))
    norm: str | None = param(default="l2", choices=("l1", "l2", None))

    @abstractmethod
    def numbers(self, state: Any, texts: Texts) -> Any:
        """A matrix ``(texts, n)``, sparse or dense, of one text or more."""

    def validate(self) -> None:
        shortest, longest = self.ngram_range
        if shortest > longest:
            raise ConfigError(
                f"{self.call_name()} needs a range of lengths.",
                why=f"ngram_range={self.ngram_range} goes down",
                mend=f"write ngram_range=({longest}, {shortest})",
            )
        if self.stop_words is not None and self.analyzer != "word":
            raise ConfigError(
                f"{self.call_name()} counts no words, so none can be left out.",
                why=f"stop_words={self.stop_words!r} and analyzer={self.analyzer!r}",
                mend='write analyzer="word", or no stop_words',
            )

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        made = self.numbers(state, _texts(values))
        small = made.astype(np.float32)
        return {name: tensors(small.toarray() if hasattr(small, "toarray") else small)}

    def _shared(self) -> dict[str, Any]:
        """Parameters that scikit-learn's vectorizers have in common."""
        names = ("analyzer", "ngram_range", "lowercase", "stop_words", "norm")
        return {name: getattr(self, name) for name in names}


class TextHashing(_Text):
    """Count the words of texts in a fixed number of buckets, chosen by a hash of the word.

    Nothing is learned, so new words need no rule, and two words may share a bucket: the fewer
    ``n``, the more. Every string column becomes a tensor column of its name.

    Shape:
        output: ``(n,)`` float32 for each text.

    Args:
        n: Number of buckets.
        analyzer: Whether to count words, or runs of characters across words (``"char"``) or
            within them (``"char_wb"``).
        ngram_range: Fewest and most words (or characters) that are counted as one.
        lowercase: Do not tell capital letters from small ones.
        stop_words: ``"english"`` leaves out the most common English words.
        norm: Divide the numbers of a text by their length (``"l2"``) or their sum (``"l1"``).
        alternate_sign: Count half of the words down instead of up, so that words which share a
            bucket cancel on average.
        binary: Whether a word is there counts, not how often.

    Raises:
        ConfigError: ``ngram_range`` goes down, or there are stop words and no words.

    >>> task = Task({"text": ["a red hat", "the red red hat", None]})
    >>> made = TextHashing(n=8, norm=None, alternate_sign=False).as_graph().fit(task).predict(task)
    >>> made.column("text").combine_chunks().to_numpy_ndarray().sum(axis=1)
    array([2., 4., 0.], dtype=float32)
    """

    n: int = param(default=256, lower=1)
    alternate_sign: bool = True
    binary: bool = False

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        return None

    def numbers(self, state: Any, texts: Texts) -> Any:
        from sklearn.feature_extraction.text import HashingVectorizer

        if len(texts) == 0:  # the vectorizer needs one to begin with
            return np.zeros((0, self.n))
        vectorizer = HashingVectorizer(
            n_features=self.n,
            alternate_sign=self.alternate_sign,
            binary=self.binary,
            dtype=np.float32,
            **self._shared(),
        )
        return vectorizer.transform(texts)


class TextTfidf(_Text):
    """Weigh the words of texts by how rare they are; by wish, condense that to few numbers.

    The words are those of the fit; what is not among them does not count. Every string column has
    words of its own and becomes a tensor column of its name.

    Shape:
        output: ``(words,)`` or ``(n_components,)`` float32 for each text.

    Args:
        analyzer: Whether to count words, or runs of characters across words (``"char"``) or
            within them (``"char_wb"``).
        ngram_range: Fewest and most words (or characters) that are counted as one.
        lowercase: Do not tell capital letters from small ones.
        stop_words: ``"english"`` leaves out the most common English words.
        norm: Divide the numbers of a text by their length (``"l2"``) or their sum (``"l1"``).
        max_features: Keep this many words, the most frequent ones; ``None`` for all. Zeros take
            memory, too: with many texts, keep some thousands, or ``n_components``.
        min_df: Leave out words that fewer texts contain: a number, or a part (a float) of them.
        max_df: Leave out words that more texts contain.
        sublinear_tf: Count ``1 + log(count)`` instead of ``count``.
        smooth_idf: Weigh as if one more text contained every word.
        n_components: Condense the words to this many numbers by a singular value decomposition
            (latent semantic analysis).

    Raises:
        ConfigError: ``ngram_range`` goes down, or there are stop words and no words.
        DataError: No words are left, or fewer words or texts than ``n_components``.

    >>> task = Task({"text": ["red hat", "red shoe", None]})
    >>> made = TextTfidf(norm=None).as_graph().fit(task).predict(task)
    >>> made.column("text").combine_chunks().to_numpy_ndarray().round(1)
    array([[1.7, 1.3, 0. ],
           [0. , 1.3, 1.7],
           [0. , 0. , 0. ]], dtype=float32)
    """

    max_features: int | None = param(default=None, lower=1)
    min_df: int | float = param(default=1, lower=0)
    max_df: int | float = param(default=1.0, lower=0)
    sublinear_tf: bool = False
    smooth_idf: bool = True
    n_components: int | None = param(default=None, lower=1)

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        vectorizer = self._vectorizer(None)
        try:
            weights = vectorizer.fit_transform(_texts(values))
        except ValueError as problem:
            raise _no_words(name, str(problem)) from problem
        state = {
            "words": pa.array(vectorizer.get_feature_names_out(), pa.large_string()),
            "idf": np.asarray(vectorizer.idf_, dtype=np.float64),
        }
        if self.n_components is None:
            return state
        return {**state, "components": self._components(name, weights, self.n_components)}

    def numbers(self, state: Any, texts: Texts) -> Any:
        vectorizer = self._vectorizer(state["words"].to_pylist())
        vectorizer.idf_ = state["idf"]
        weights = vectorizer.transform(texts)
        return weights @ state["components"].T if "components" in state else weights

    def _vectorizer(self, words: list[str] | None) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            vocabulary=words,
            max_features=self.max_features,
            min_df=self.min_df,
            max_df=self.max_df,
            sublinear_tf=self.sublinear_tf,
            smooth_idf=self.smooth_idf,
            **self._shared(),
        )

    def _components(self, name: str, weights: Any, n: int) -> NDArray[np.float64]:
        """Directions ``(n, words)``, the same for the same texts."""
        from sklearn.decomposition import TruncatedSVD

        if n > min(weights.shape):
            raise DataError(
                f"Column {name!r} cannot be condensed to {n} numbers.",
                where=f"column {name!r}",
                why=f"it has {weights.shape[0]} texts of {weights.shape[1]} words",
                mend=f"write n_components={min(weights.shape)} or fewer",
            )
        found = TruncatedSVD(n, random_state=0).fit(weights)
        return np.asarray(found.components_, dtype=np.float64)


def _texts(values: pa.Array) -> Texts:
    texts: Texts = pc.fill_null(values, "").to_numpy(zero_copy_only=False)
    return texts


def _no_words(name: str, why: str) -> DataError:
    return DataError(
        f"Column {name!r} has no words to count.",
        where=f"column {name!r}",
        why=why.splitlines()[0],
        mend='leave it out of columns=, keep rarer words (min_df=1), or use po("text_hashing")',
    )
