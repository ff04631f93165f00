"""Files that somebody made to do harm, or that were damaged on their way: each from a good one."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

Entries = dict[str, bytes]
Change = Callable[[Any], Any]
MANIFEST, GRAPH, STATES = "manifest.json", "graph.json", "states.json"
TENSORS, TABLE = "tensors.safetensors", "tables/0.arrow"


def entries_of(path: Path) -> Entries:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: Entries, *more: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data)
        for info, data in more:
            archive.writestr(info, data)
    return file.getvalue()


def edited(entries: Entries, name: str, change: Change) -> bytes:
    """The file with the JSON of an entry changed in place."""
    content = json.loads(entries[name])
    made = change(content)
    return zipped({**entries, name: json.dumps(content if made is None else made).encode()})


def with_entry(entries: Entries, name: str, data: bytes = b"{}") -> bytes:
    return zipped({**entries, name: data})


def without(entries: Entries, name: str) -> bytes:
    return zipped({key: data for key, data in entries.items() if key != name})


def replaced(entries: Entries, name: str, data: bytes) -> bytes:
    return zipped({**entries, name: data})


# Zip


def info(name: str, **fields: Any) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def renamed_in_bytes(entries: Entries, name: bytes) -> bytes:
    """The manifest under a name that Python would not write."""
    wrong = b"manifest.json"[: len(name)].ljust(len(name), b"x")
    raw = zipped({**entries, wrong.decode(): b"{}"})
    return raw.replace(wrong, name)


def compressed(entries: Entries) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data + b" " * 5_000_000 * (name == GRAPH))
    return file.getvalue()


def lying(entries: Entries) -> bytes:
    """A stored entry that claims in the list to become much more."""
    raw = bytearray(zipped(entries))
    at = raw.rfind(b"PK\x01\x02")
    struct.pack_into("<I", raw, at + 24, 2**31)
    return bytes(raw)


def overlapping(entries: Entries) -> bytes:
    """Two names in the list for one place in the file."""
    raw = bytearray(zipped({**entries, "tables/7.arrow": entries[TABLE]}))
    first, last = raw.find(b"PK\x01\x02"), raw.rfind(b"PK\x01\x02")
    raw[last + 42 : last + 46] = raw[first + 42 : first + 46]
    return bytes(raw)


def twice(entries: Entries) -> bytes:
    raw = zipped({**entries, "tables/8.arrow": b"{}"})
    return raw.replace(b"tables/8.arrow", TABLE.encode())


def encrypted(entries: Entries) -> bytes:
    raw = bytearray(zipped(entries))
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 8] |= 1
    return bytes(raw)


def flipped(entries: Entries) -> bytes:
    """One bit of the weights is another."""
    raw = bytearray(zipped(entries))
    at = raw.find(entries[TENSORS]) + len(entries[TENSORS]) - 3
    raw[at] ^= 1
    return bytes(raw)


def long_index(entries: Entries) -> bytes:
    """A list of entries that would take all the memory there is."""
    raw = zipped(entries)
    filler = b"PK\x01\x02" + bytes(42)
    start = raw.find(b"PK\x01\x02")
    index = filler * 400_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(index), start, 0)
    return raw[:start] + index + end


# Tensors


def tensors(entries: Entries, change: Change, more: bytes = b"") -> bytes:
    """The file with another header of its tensors."""
    data = entries[TENSORS]
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    made = change(header)
    text = json.dumps(header if made is None else made).encode()
    new = len(text).to_bytes(8, "little") + text + data[8 + length :] + more
    return replaced(entries, TENSORS, new)


def weight(header: Any) -> Any:
    """The header of the first layer's weights."""
    return next(said for name, said in header.items() if name.endswith("linear.weight"))


def swap_name(header: Any) -> Any:
    return {name.replace("linear.weight", "linear.wieght"): said for name, said in header.items()}


def other_shape(header: Any) -> None:
    weight(header)["shape"].reverse()


def other_type(header: Any) -> None:
    weight(header)["dtype"] = "I32"


def shifted(header: Any) -> None:
    said = list(header.values())
    said[-1]["data_offsets"] = said[0]["data_offsets"]


# Tables


def table(made: pa.Table, compression: str | None = None) -> bytes:
    file = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(file, made.schema, options=options) as writer:
        writer.write_table(made)
    return file.getvalue()


def bomb() -> bytes:
    return table(pa.table({"": pa.nulls(30_000_000, pa.float64())}), "zstd")


# Graphs


def nodes(content: Any) -> Any:
    return content["graph"]["$graph"]["nodes"]


def node(content: Any, key: str) -> Any:
    return next(node for node in nodes(content) if node["key"] == key)


def set_param(key: str, name: str, value: Any) -> Change:
    def change(content: Any) -> None:
        node(content, key)["params"][name] = value

    return change


def set_key(old: str, new: str) -> Change:
    def change(content: Any) -> None:
        node(content, old)["key"] = new

    return change


def edges(change: Change) -> Change:
    return lambda content: change(content["graph"]["$graph"]["edges"])


def trained(states: Any) -> Any:
    return states["states"]["torch_model"]["$value"][1]


def layer(states: Any, id: str) -> Any:
    return trained(states)["descriptor"]["$value"][1]["calls"][id]["$value"][1]["layer"]["$node"]


def large_layer(device: str | None) -> Change:
    """The first layer as one that would take 40 GB, if somebody built it."""

    def change(states: Any) -> None:
        made = {"in_features": 100_000, "out_features": 100_000}
        layer(states, "linear").update(
            key="nn_module",
            params={
                "module": {"$name": "torch.nn.modules.linear:Linear"},
                "options": {**made, **({"device": device} if device else {})},
            },
        )

    return change


def many_layers(states: Any) -> None:
    """One layer that would make other layers without end."""
    layer(states, "linear").update(
        key="nn_module",
        params={
            "module": {"$name": "torch.nn.modules.rnn:LSTM"},
            "options": {"input_size": 1, "hidden_size": 1, "num_layers": 10**9},
        },
    )


def add_node(key: str, params: Any) -> Change:
    return lambda content: nodes(content).append({"key": key, "params": params})


HUGE = {"in_features": 100_000, "out_features": 100_000}
SPEC = "mlgraph_nodes.estimatorspec:EstimatorSpec"
LINEAR = {"$name": "torch.nn.modules.linear:Linear"}


def deep(n: int) -> bytes:
    return b'{"graph":' + b"[" * n + b"]" * n + b"}"


CASES: dict[str, Callable[[Entries], bytes]] = {
    # The zip itself
    "no zip": lambda e: b"not a zip",
    "empty": lambda e: b"",
    "cut in half": lambda e: zipped(e)[: len(zipped(e)) // 2],
    "cut at the end": lambda e: zipped(e)[:-1],
    "something before it": lambda e: b"#!/bin/sh\n" + zipped(e),
    "absolute path": lambda e: with_entry(e, "/tmp/graph.json"),
    "path traversal": lambda e: with_entry(e, "../graph.json"),
    "path traversal inside": lambda e: with_entry(e, "tables/../../graph.json"),
    "backslash": lambda e: with_entry(e, "..\\graph.json"),
    "drive": lambda e: with_entry(e, "C:graph.json"),
    "folder": lambda e: with_entry(e, "tables/", b""),
    "symlink": lambda e: zipped(
        e, (info("objects/0.skops", create_system=3, external_attr=0o120777 << 16), b"/etc/passwd")
    ),
    "extra pickle": lambda e: with_entry(e, "data.pkl", b"cos\nsystem\n(S'true'\ntR."),
    "pickle as an estimator": lambda e: with_entry(e, "objects/0.skops", b"cos\nsystem\n."),
    "extra table": lambda e: with_entry(e, "tables/99.arrow", e[TABLE]),
    "name that is no UTF-8": lambda e: renamed_in_bytes(e, b"manif\xff\xfe.json"),
    "name with a zero": lambda e: renamed_in_bytes(e, b"graph.json\x00.e"),
    "name there twice": twice,
    "encrypted": encrypted,
    "compressed": compressed,
    "size that is not true": lying,
    "overlapping entries": overlapping,
    "endless list": long_index,
    "flipped bit": flipped,
    "no manifest": lambda e: without(e, MANIFEST),
    "no graph": lambda e: without(e, GRAPH),
    "no states": lambda e: without(e, STATES),
    "no tensors": lambda e: without(e, TENSORS),
    "no table": lambda e: without(e, TABLE),
    # JSON
    "bad JSON": lambda e: replaced(e, GRAPH, b'{"graph": '),
    "JSON of another kind": lambda e: replaced(e, GRAPH, b"[1, 2]"),
    "NaN in JSON": lambda e: replaced(e, GRAPH, b'{"graph": NaN}'),
    "name twice in JSON": lambda e: replaced(e, GRAPH, b'{"graph": 1, "graph": 2}'),
    "JSON that is no UTF-8": lambda e: replaced(e, GRAPH, b'{"graph": "\xff"}'),
    "JSON in UTF-16": lambda e: replaced(e, GRAPH, e[GRAPH].decode().encode("utf-16")),
    "half a character": lambda e: edited(e, GRAPH, set_param("impute", "columns", "\ud800")),
    "deep JSON": lambda e: replaced(e, GRAPH, deep(500)),
    "very deep JSON": lambda e: replaced(e, GRAPH, deep(200_000)),
    "long number": lambda e: replaced(e, GRAPH, b'{"graph": ' + b"9" * 10_000 + b"}"),
    "unknown value": lambda e: edited(e, GRAPH, set_param("impute", "columns", {"$pickle": "00"})),
    # Versions and kinds
    "future format": lambda e: edited(e, MANIFEST, lambda m: m.update(format=2, mlgraph="9.9")),
    "no format": lambda e: edited(e, MANIFEST, lambda m: m.pop("format")),
    "text as format": lambda e: edited(e, MANIFEST, lambda m: m.update(format="1")),
    "unknown kind": lambda e: edited(e, MANIFEST, lambda m: m.update(kind="callable")),
    # Graphs
    "unknown node": lambda e: edited(e, GRAPH, set_key("impute", "imputor")),
    "private node": lambda e: edited(e, GRAPH, set_key("impute", "mlgraph.core.node:Node")),
    "unknown parameter": lambda e: edited(e, GRAPH, set_param("scale", "evil", 1)),
    "impossible parameter": lambda e: edited(e, GRAPH, set_param("torch_model", "epochs", -1)),
    "parameter of another type": lambda e: edited(e, GRAPH, set_param("scale", "center", [1])),
    "bad id": lambda e: edited(e, GRAPH, lambda c: nodes(c)[0].update(id="a.__b")),
    "one id twice": lambda e: edited(e, GRAPH, lambda c: [n.update(id="a") for n in nodes(c)][:0]),
    "edge to nowhere": lambda e: edited(e, GRAPH, edges(lambda w: w[0].__setitem__(2, 99))),
    "edge to a negative node": lambda e: edited(e, GRAPH, edges(lambda w: w[0].__setitem__(0, -1))),
    "edge to no port": lambda e: edited(e, GRAPH, edges(lambda w: w[0].__setitem__(1, "x"))),
    "edge there twice": lambda e: edited(e, GRAPH, edges(lambda w: w.append(w[0]))),
    "cycle": lambda e: edited(e, GRAPH, edges(lambda w: w.append([2, "output", 0, "input"]))),
    "edge between types": lambda e: edited(e, GRAPH, edges(lambda w: w[1].__setitem__(0, 3))),
    # Names
    **{
        f"name {name}": lambda e, name=name: edited(
            e, GRAPH, set_param("torch_model", "metrics", [{"$name": name}])
        )
        for name in (
            "os:system",
            "builtins:eval",
            "subprocess:Popen",
            "torch:load",
            "torch.serialization:load",
            "torch.hub:load",
            "torch:from_file",
            "torch._C:_jit_init",
            "torch.nn.functional:torch.load",
            "torch.nn.modules.linear:Linear.__init__.__globals__",
            "numpy:load",
            "mlgraph.catalogue:importlib.import_module",
            "mlgraph_nodes.vision_models:torch",
            "sklearn.datasets:load_files",
            "sklearn.externals:joblib",
            "sklearn.utils._testing:assert_run_python_script_without_output",
            "no_such_package.module:name",
        )
    },
    "class that is no value": lambda e: edited(
        e,
        GRAPH,
        set_param("impute", "columns", {"$value": ["torch.nn.modules.linear:Linear", {}]}),
    ),
    "value without its fields": lambda e: edited(
        e, GRAPH, set_param("impute", "columns", {"$value": ["mlgraph.data.selector:Type", {}]})
    ),
    # States
    "state of no node": lambda e: edited(
        e, STATES, lambda s: s["states"].update(somebody={"a": 1})
    ),
    "seed that is none": lambda e: edited(e, STATES, lambda s: s.update(seed="1")),
    "network that is another": lambda e: edited(
        e, STATES, lambda s: layer(s, "linear")["params"].update(out_features=5)
    ),
    "network too large": lambda e: edited(e, STATES, large_layer(None)),
    "network too large on a device": lambda e: edited(e, STATES, large_layer("cpu")),
    "network of too many parts": lambda e: edited(e, STATES, many_layers),
    "loss that is huge": lambda e: edited(
        e, GRAPH, add_node("torch_loss", {"loss": LINEAR, "options": HUGE})
    ),
    "estimator that is huge": lambda e: edited(
        e,
        GRAPH,
        add_node(
            "learner",
            {"estimator": {"$value": [SPEC, {"kind": LINEAR, "params": {"$map": HUGE}}]}},
        ),
    ),
    # Tensors
    "wrong dtype": lambda e: tensors(e, other_type),
    "wrong shape": lambda e: tensors(e, other_shape),
    "wrong name": lambda e: tensors(e, swap_name),
    "tensor too many": lambda e: tensors(
        e, lambda h: h.update(x={"dtype": "U8", "shape": [0], "data_offsets": [0, 0]})
    ),
    "unknown dtype": lambda e: tensors(e, lambda h: weight(h).update(dtype="PICKLE")),
    "negative shape": lambda e: tensors(e, lambda h: weight(h).update(shape=[-1, -12])),
    "huge shape": lambda e: tensors(e, lambda h: weight(h).update(shape=[2**62, 2**62])),
    "huge tensor": lambda e: tensors(
        e, lambda h: weight(h).update(shape=[2**40], data_offsets=[0, 2**42])
    ),
    "overlapping tensors": lambda e: tensors(e, shifted),
    "bytes nobody needs": lambda e: tensors(e, lambda h: None, more=b"more"),
    "tensors without a header": lambda e: replaced(e, TENSORS, b"\x00"),
    "oversized header": lambda e: replaced(e, TENSORS, (2**63).to_bytes(8, "little") + b"{}"),
    "header that is no JSON": lambda e: replaced(e, TENSORS, (2).to_bytes(8, "little") + b"{{"),
    "header that is a list": lambda e: replaced(e, TENSORS, (2).to_bytes(8, "little") + b"[]"),
    # Tables
    "damaged table": lambda e: replaced(e, TABLE, e[TABLE][: len(e[TABLE]) // 2]),
    "compressed table": lambda e: replaced(e, TABLE, bomb()),
    "table of another type": lambda e: replaced(
        e, TABLE, table(pa.table({"": pa.array([], pa.run_end_encoded(pa.int32(), pa.int8()))}))
    ),
    "table of another size": lambda e: replaced(
        e, TABLE, table(pa.table({"": [1, 2], "b": 2 * [0]}))
    ),
}
