from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mlgraph import datasets
from mlgraph.data.lazy.column import as_lazy
from mlgraph.data.lazy.files import ImageFiles
from mlgraph.data.lazy.reader import Draw, Reader
from mlgraph.errors import DataError, UnknownColumnError


def save(path, value, size=(6, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def read(task, column="image"):
    reader = Reader({column: as_lazy(task.columns[column])}, task.row_ids)
    return reader.read(np.arange(len(task)), Draw(0)).tensors[column]


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "dog" / "b.png", (3, 0, 0))
    save(tmp_path / "dog" / "a.PNG", (2, 0, 0))
    save(tmp_path / "dog" / "more" / "c.png", (4, 0, 0))
    save(tmp_path / "cat" / "z.png", (1, 0, 0))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "labels.csv").write_text("no class")
    return tmp_path


def test_every_folder_is_a_class_and_files_are_sorted(folder):
    task = datasets.image_folder(folder)
    assert task.features == ("image",) and task.classes == ("cat", "dog")
    assert task.target_codes().tolist() == [0, 1, 1, 1]
    assert task.column("file").to_pylist() == [
        "cat/z.png",
        "dog/a.PNG",
        "dog/b.png",
        "dog/more/c.png",
    ]
    assert [int(image[0, 0, 0]) for image in read(task)] == [1, 2, 3, 4]


def test_a_size_that_all_images_have_is_known_and_modes_are_passed_on(folder):
    task = datasets.image_folder(folder, mode="L", size=(4, 6))
    assert str(as_lazy(task.columns["image"]).spec) == "(batch, 1, 4, 6) uint8"
    assert read(task).shape == (4, 1, 4, 6)


def test_no_image_is_opened_before_it_is_needed(folder, monkeypatch):
    (folder / "dog" / "b.png").write_bytes(b"no image")
    task = datasets.image_folder(folder)
    assert len(task.take([0, 2])) == 2 and "image" in repr(task)
    with pytest.raises(DataError, match=r"b\.png"):
        read(task)


def test_images_that_cannot_be_read_are_left_out_if_asked(folder):
    (folder / "dog" / "b.png").write_bytes(b"no image")
    task = datasets.image_folder(folder, on_error="skip")
    assert len(read(task)) == 3


def test_folders_without_classes_or_images_are_refused_by_name(tmp_path, folder):
    (tmp_path / "bird").mkdir()
    with pytest.raises(DataError, match="Classes without images: 'bird'"):
        datasets.image_folder(tmp_path)
    with pytest.raises(DataError, match="There are no classes"):
        datasets.image_folder(tmp_path / "bird")


@pytest.fixture
def table(folder):
    path = folder / "table.csv"
    path.write_text("age,photo,kind\n1.5,dog/b.png,u\n2.5,cat/z.png,v\n3.5,dog/a.PNG,u\n")
    return path


def test_the_images_of_a_table_stand_where_their_paths_were(table):
    task = datasets.csv_of_paths(table, "photo", "kind")
    assert task.features == ("age", "photo") and task.classes == ("u", "v")
    assert [int(image[0, 0, 0]) for image in read(task, "photo")] == [3, 1, 2]


def test_paths_may_start_from_another_folder_and_columns_have_roles(table, tmp_path):
    moved = tmp_path / "elsewhere" / "table.csv"
    moved.parent.mkdir()
    table.rename(moved)
    task = datasets.csv_of_paths(moved, "photo", "age", root=tmp_path, group="kind")
    assert task.kind == "regression" and task.roles["group"] == ("kind",)
    assert len(read(task, "photo")) == 3


def test_absolute_paths_stay_as_they_are(table, tmp_path, folder):
    table.write_text(f"photo\n{folder / 'dog' / 'b.png'}\n")
    task = datasets.csv_of_paths(table, "photo", root=tmp_path / "nowhere")
    assert int(read(task, "photo")[0][0, 0, 0]) == 3


def test_a_table_without_such_paths_is_refused(table):
    with pytest.raises(DataError, match="Column 'age' has no paths"):
        datasets.csv_of_paths(table, "age", "kind")
    with pytest.raises(UnknownColumnError, match="phtoo"):
        datasets.csv_of_paths(table, "phtoo", "kind")
    table.write_text("photo,kind\na.png,u\n,v\n")
    with pytest.raises(DataError, match="1 paths in column 'photo' are missing") as caught:
        datasets.csv_of_paths(table, "photo", "kind")
    assert "row 1" in caught.value.why


def tiny(root, by_folder=False):
    for i, name in enumerate(("n02", "n01")):
        for j in range(2):
            save(root / "train" / name / "images" / f"{name}_{j}.JPEG", 10 * i + j, (64, 64), "L")
    for j, name in enumerate(("n02", "n01", "n02")):
        place = root / "val" / (name if by_folder else "images")
        save(place / f"val_{j}.JPEG", 100 + j, (64, 64), "L")
    lines = [
        "val_0.JPEG\tn02\t0\t0\t9\t9",
        "val_1.JPEG\tn01\t1\t1\t9\t9",
        "val_2.JPEG\tn02\t0\t0\t9\t9",
    ]
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(("by_folder", "order"), [(False, [0, 1, 2]), (True, [1, 0, 2])])
@pytest.mark.parametrize("inside", ["", "tiny-imagenet-200"])
def test_tiny_imagenet_is_read_from_its_folders(tmp_path, by_folder, order, inside):
    tiny(tmp_path / inside, by_folder)
    task = datasets.tiny_imagenet(tmp_path)
    assert task.features == ("image",) and task.classes == ("n01", "n02")
    assert task.column("split").to_pylist() == ["train"] * 4 + ["val"] * 3
    assert task.target_codes().tolist() == [0, 0, 1, 1] + [[1, 0, 1][i] for i in order]
    images = read(task)
    assert images.shape == (7, 3, 64, 64)
    assert images[:, 0, 0, 0].tolist() == [10, 11, 0, 1] + [100 + i for i in order]


def test_validation_images_of_an_unknown_class_are_refused(tmp_path):
    tiny(tmp_path)
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn03\t0\t0\t9\t9\n")
    with pytest.raises(DataError, match="1 lines of val_annotations"):
        datasets.tiny_imagenet(tmp_path)


def test_the_sources_are_files(folder):
    (source,) = as_lazy(datasets.image_folder(folder).columns["image"]).lazy.sources
    assert isinstance(source, ImageFiles)
