"""Sentence embeddings: what a pretrained language model makes of a text, as one tensor."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlgraph.core.base import Context
from mlgraph.core.extra import needed
from mlgraph.core.param import param
from mlgraph.core.value import digest
from mlgraph.data.arrays import tensors
from mlgraph.data.task import Task
from mlgraph.data.transform import ColumnTransform
from mlgraph.errors import ConfigError, StateError
from mlgraph.tensor.stream import forked
from mlgraph.train.device import resolve_device

PROBE = "A text by which a model is known again."


class TextEmbedding(ColumnTransform):
    """Turn texts into the numbers of a pretrained sentence model (extra ``text``).

    The model is one of the library sentence-transformers; it is not trained further. A missing
    text is an empty one, and a text that occurs often is computed once. Every string column
    becomes a tensor column of its name.

    Shape:
        output: ``(n,)`` float32 for each text; the model says how many.

    Args:
        model: The folder of a model, or the name of one on the Hugging Face Hub, which is
            downloaded when it is used first. Weights are read from safetensors files, or as plain
            tensors: nothing in a file is executed.
        revision: Branch, tag or commit of a model of the hub; None takes the newest.
        normalize: Divide the numbers of a text by their length.
        batch_size: How many texts are computed at once.
        device: Where to compute: ``"auto"``, ``"cpu"``, ``"cuda"``, ...

    Raises:
        ConfigError: sentence-transformers is not installed, or cannot read the model.
        StateError: When predicting, the model is another one than at the fit.

    Source: Reimers and Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
    BERT-Networks", EMNLP 2019.

    >>> print(TextEmbedding(model="sentence-transformers/all-MiniLM-L6-v2").as_graph())
    ┌ INPUT
    │ text_embedding  model='sentence-transformers/all-MiniLM-L6-v2'
    ▼ OUTPUT
    """

    accepts = frozenset({"string"})

    model: str
    revision: str | None = None
    normalize: bool = True
    batch_size: int = param(default=32, lower=1, tags=("runtime",))
    device: str = param(default="auto", tags=("runtime",))

    def fit_column(self, name: str, values: pa.Array, task: Task, ctx: Context) -> Any:
        return self._embedded([PROBE])[0]

    def transform_column(self, state: Any, name: str, values: pa.Array) -> Mapping[str, Any]:
        texts = pc.fill_null(values, "").dictionary_encode()
        made = self._embedded([PROBE, *texts.dictionary.to_pylist()])
        self._refuse_another(state, made[0])
        return {name: tensors(made[1:][texts.indices.to_numpy()])}

    def memo_digest(self) -> str:
        return digest(super().memo_digest(), repr(_files(self.model)))

    def _embedded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The numbers of one text or more, ``(texts, n)``."""
        device = str(resolve_device(self.device))
        found = self._loaded(device).encode(
            list(texts),
            batch_size=self.batch_size,
            normalize_embeddings=self.normalize,
            show_progress_bar=False,
        )
        return np.asarray(found, dtype=np.float32)

    def _loaded(self, device: str) -> Any:
        library = needed(self, "sentence_transformers", "text")
        make = library.SentenceTransformer
        try:
            return _model(make, self.model, self.revision, device, _files(self.model))
        except Exception as error:
            said = str(error).strip().split("\n")[0]
            raise ConfigError(
                f"{self.call_name()} cannot read the model {self.model!r}.",
                why=f"{type(error).__name__}: {said}",
                mend="give the folder of a model with weights in safetensors files, or the name "
                "of one on the Hugging Face Hub and a connection to it",
            ) from error

    def _refuse_another(self, then: NDArray[np.float32], now: NDArray[np.float32]) -> None:
        """Refuse a model that makes other numbers of the probe, beyond what devices differ by."""
        same = then.shape == now.shape and np.allclose(then, now, atol=0.01 * np.abs(then).max())
        if not same:
            raise StateError(
                f"The model {self.model!r} is another one than at the fit.",
                why="it makes other numbers of the same text",
                mend="put back the model of the fit, or fit again; revision= keeps a model of "
                "the hub as it is",
            )


def _files(model: str) -> tuple[Any, ...]:
    """The files of a folder as they are now, so that another model in it is another one."""
    files = sorted(path for path in Path(model).absolute().rglob("*") if path.is_file())
    return tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)


@functools.lru_cache(maxsize=1)
def _model(cls: Any, name: str, revision: str | None, device: str, files: tuple[Any, ...]) -> Any:
    with forked():  # weights are drawn before they are read
        return cls(name, revision=revision, device=device, model_kwargs={"use_safetensors": True})
