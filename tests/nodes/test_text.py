from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer

import mlgraph
from mlgraph import Task, po
from mlgraph.errors import ConfigError, DataError
from mlgraph_nodes.text import TextHashing, TextTfidf

SEEN = ["Red hat", "a red shoe", None, "the hat, the shoe", "green coat and red hat", ""]
FILLED = [text or "" for text in SEEN]
NEW = ["a red coat", None, "nothing known"]


def task(texts=SEEN):
    return Task({"number": np.arange(float(len(texts))), "text": texts})


def made(node, new=None):
    fitted = node.as_graph().fit(task())
    return matrix(fitted.predict(task(SEEN if new is None else new)))


def matrix(result, name="text"):
    return result.column(name).combine_chunks().to_numpy_ndarray()


OPTIONS = [
    {},
    {"analyzer": "char_wb", "ngram_range": (2, 3)},
    {"lowercase": False, "norm": None},
    {"stop_words": "english", "norm": "l1"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_hashing_gives_what_scikit_learn_gives(options):
    wanted = HashingVectorizer(n_features=16, **options).transform(FILLED).toarray()
    np.testing.assert_allclose(made(TextHashing(n=16, **options)), wanted, rtol=1e-6)


@pytest.mark.parametrize("options", [*OPTIONS, {"sublinear_tf": True}, {"smooth_idf": False}])
def test_tfidf_gives_what_scikit_learn_gives_also_for_new_texts(options):
    reference = TfidfVectorizer(**options).fit(FILLED)
    for texts in (SEEN, NEW):
        wanted = reference.transform([text or "" for text in texts]).toarray()
        np.testing.assert_allclose(made(TextTfidf(**options), texts), wanted, rtol=1e-6)


def test_words_are_left_out_by_the_number_of_texts_that_have_them():
    reference = TfidfVectorizer(min_df=2, max_df=0.4, max_features=3).fit(FILLED)
    found = made(TextTfidf(min_df=2, max_df=0.4, max_features=3))
    np.testing.assert_allclose(found, reference.transform(FILLED).toarray(), rtol=1e-6)
    assert 0 < found.shape[1] <= 3


def test_words_are_condensed_by_the_decomposition_of_the_fit():
    reference = TfidfVectorizer().fit(FILLED)
    directions = TruncatedSVD(2, random_state=0).fit(reference.transform(FILLED))
    wanted = directions.transform(reference.transform([text or "" for text in NEW]))
    np.testing.assert_allclose(made(TextTfidf(n_components=2), NEW), wanted, atol=1e-6)


@pytest.mark.parametrize("node", [TextHashing(n=4), TextTfidf(), TextTfidf(n_components=2)])
def test_a_text_becomes_one_float32_tensor_in_its_place(node):
    result = node.as_graph().fit(task()).predict(task(NEW))
    assert result.features == ("number", "text")
    assert result.types["text"] == "tensor"
    assert str(result.column("text").type.value_type) == "float"


@pytest.mark.parametrize("node", [TextHashing(n=4), TextTfidf()])
def test_a_missing_text_is_an_empty_one(node):
    found = made(node)
    assert np.array_equal(found[2], found[5]) and not found[2].any()


def test_every_text_column_has_words_of_its_own():
    both = Task({"title": ["a tea", "tea pot"], "text": ["one two three", "two four"]})
    result = po("text_tfidf").as_graph().fit(both).predict(both)
    assert matrix(result, "title").shape == (2, 2)
    assert matrix(result, "text").shape == (2, 4)


def test_no_rows_of_new_texts_keep_the_size():
    result = TextTfidf().as_graph().fit(task()).predict(task().take([]))
    assert len(result) == 0 and list(result.column("text").type.shape) == [7]


def test_hashing_needs_no_rows_to_learn_from():
    fitted = TextHashing(n=4).as_graph().fit(task().take([]))
    assert matrix(fitted.predict(task())).shape == (6, 4)


@pytest.mark.parametrize("texts", [[None, ""], ["a", "b"], []])
def test_texts_without_words_are_refused_by_the_name_of_the_column(texts):
    with pytest.raises(DataError, match="Column 'text' has no words"):
        TextTfidf(columns="text").as_graph().fit(Task({"text": pa.array(texts, pa.string())}))


def test_more_numbers_than_words_are_refused_with_the_number_that_works():
    with pytest.raises(DataError, match="n_components=6 or fewer"):
        TextTfidf(n_components=7).as_graph().fit(task())


def test_a_range_that_goes_down_and_stop_words_without_words_are_refused():
    with pytest.raises(ConfigError, match=r"ngram_range=\(1, 2\)"):
        TextHashing(ngram_range=(2, 1))
    with pytest.raises(ConfigError, match="counts no words"):
        TextTfidf(analyzer="char", stop_words="english")


def test_a_category_is_no_text_unless_it_is_converted():
    categories = Task({"text": np.array(["u", "v"])}).to_arrow()["text"].dictionary_encode()
    with pytest.raises(DataError, match="accepted are 'string'"):
        TextHashing(columns="text").as_graph().fit(Task({"text": categories}))


@pytest.mark.parametrize("node", [TextHashing(n=4), TextTfidf(n_components=2)])
def test_a_saved_node_gives_the_same_numbers(node, tmp_path):
    fitted = node.as_graph().fit(task())
    fitted.save(tmp_path / "text.mlgraph")
    loaded = mlgraph.load(tmp_path / "text.mlgraph")
    assert np.array_equal(matrix(loaded.predict(task(NEW))), matrix(fitted.predict(task(NEW))))
