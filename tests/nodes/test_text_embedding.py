from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

import mlgraph
from mlgraph import Task, nn, po
from mlgraph.errors import ConfigError, StateError
from mlgraph_nodes import text_embedding

SEEN = ["red hat", "green shoe", None, "red hat", ""]


def _sentences():
    path = Path(__file__).parents[1] / "store" / "sentences.py"
    spec = importlib.util.spec_from_file_location("sentences", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


sentences = _sentences()


@pytest.fixture
def folder(tmp_path):
    return sentences.model(tmp_path / "model")


def task(texts=SEEN):
    return Task({"number": np.arange(float(len(texts))), "text": texts})


def node(folder, **params):
    return po("text_embedding", model=folder, device="cpu", **params)


def matrix(result):
    return result.column("text").combine_chunks().to_numpy_ndarray()


@pytest.mark.parametrize("normalize", [True, False])
def test_it_gives_what_the_library_gives(folder, normalize):
    made = matrix(node(folder, normalize=normalize).as_graph().fit(task()).predict(task()))
    texts = [text or "" for text in SEEN]
    wanted = SentenceTransformer(folder, device="cpu").encode(texts, normalize_embeddings=normalize)
    np.testing.assert_allclose(made, wanted, rtol=1e-6)
    assert made.dtype == np.float32
    assert not made[2].any() and np.array_equal(made[2], made[4])


def test_texts_become_a_tensor_in_their_place(folder):
    result = node(folder).as_graph().fit(task()).predict(task(["new words"]))
    assert result.features == ("number", "text")
    assert result.types["text"] == "tensor"


def test_no_rows_are_no_texts(folder):
    fitted = node(folder).as_graph().fit(task())
    assert matrix(fitted.predict(task().take([]))).shape == (0, 3)
    assert matrix(node(folder).as_graph().fit(task().take([])).predict(task())).shape == (5, 3)


def test_a_text_that_is_there_twice_is_computed_once(folder, monkeypatch):
    seen = []
    encode = SentenceTransformer.encode

    def counted(self, texts, **options):
        seen.extend(texts)
        return encode(self, texts, **options)

    monkeypatch.setattr(SentenceTransformer, "encode", counted)
    node(folder).as_graph().fit(task())
    assert sorted(text for text in seen if text != text_embedding.PROBE) == [
        "",
        "green shoe",
        "red hat",
    ]


def test_a_network_learns_from_texts(folder):
    texts = ["red hat", "green shoe", "red shoe", "green hat"] * 16
    data = Task({"text": texts, "y": [text.split()[0] for text in texts]}, target="y")
    graph = (
        node(folder)
        >> po("ingress_tensor", columns="text")
        >> nn("head")
        >> po("torch_model", epochs=40, batch_size=16, device="cpu", progress=False)
    )
    graph.check(data)
    assert graph.fit(data, seed=1).predict(data).score("accuracy") == 1.0


def test_random_numbers_of_torch_are_as_before(folder):
    text_embedding._model.cache_clear()
    before = torch.get_rng_state()
    node(folder).as_graph().fit(task())
    assert torch.equal(before, torch.get_rng_state())


def test_a_saved_graph_predicts_the_same(folder, tmp_path):
    fitted = node(folder).as_graph().fit(task())
    fitted.save(tmp_path / "texts.mlgraph")
    again = mlgraph.load(tmp_path / "texts.mlgraph").predict(task())
    assert np.array_equal(matrix(again), matrix(fitted.predict(task())))


@pytest.mark.parametrize(("seed", "width"), [(1, 3), (0, 4)])
def test_another_model_in_the_folder_is_refused_when_predicting(folder, seed, width):
    fitted = node(folder).as_graph().fit(task())
    shutil.rmtree(folder)
    sentences.model(Path(folder), seed=seed, width=width)
    text_embedding._model.cache_clear()
    with pytest.raises(StateError, match="is another one than at the fit") as caught:
        fitted.predict(task())
    assert "put back the model of the fit" in caught.value.mend
    assert caught.value.where is not None and "text_embedding" in str(caught.value)


def test_a_folder_that_is_not_there_is_refused_by_its_name(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the model") as caught:
        node(str(tmp_path / "none")).as_graph().fit(task())
    assert "not found" in caught.value.why
    assert "safetensors" in caught.value.mend


def test_without_the_package_the_extra_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r'pip install "mlgraph\[text\]"'):
        node(folder).as_graph().fit(task())


def test_where_and_how_many_at_once_does_not_change_what_it_is(folder):
    one, other = node(folder), node(folder, batch_size=2)
    assert one.as_graph().hash == other.as_graph().hash


def test_another_model_in_the_folder_is_another_model(folder, tmp_path, monkeypatch):
    first = matrix(node(folder).as_graph().fit(task()).predict(task()))
    before = node(folder).memo_digest()
    sentences.model(Path(folder), seed=1)
    assert node(folder).memo_digest() != before
    fitted = node(folder).as_graph().fit(task())
    assert not np.allclose(matrix(fitted.predict(task())), first)
    sentences.model(tmp_path / "elsewhere" / "model", seed=0)
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(
        matrix(node("model").as_graph().fit(task()).predict(task())), first
    )


@pytest.mark.parametrize("content", [b"", b"garbage" * 9])
def test_a_file_of_weights_that_is_broken_is_refused(folder, content):
    Path(folder, "model.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot read the model") as caught:
        node(folder).as_graph().fit(task())
    assert "SafetensorError" in caught.value.why
