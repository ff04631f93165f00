import os
import pickle

import numpy as np
import pytest
import torch

from mlgraph.data.lazy.files import ImageFiles
from mlgraph.data.lazy.source import ReadFailure
from mlgraph.errors import ConfigError, DataError

ROWS = np.array([3, 0])


def test_files_are_decoded_as_channels_height_width(images):
    paths, array = images
    found = ImageFiles(paths).fetch(ROWS)
    assert [row.shape for row in found] == [(3, 4, 6)] * 2
    assert np.array_equal(torch.stack(found).numpy(), array[ROWS].transpose(0, 3, 1, 2))


def test_images_of_a_promised_size_are_stacked(images):
    paths, _ = images
    source = ImageFiles(paths, size=(4, 6))
    assert source.spec.shape == ("batch", 3, 4, 6)
    assert source.fetch(ROWS).shape == (2, 3, 4, 6)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGBA", 4), ("LA", 2), ("unchanged", 3)])
def test_the_mode_says_which_channels_there_are(images, mode, channels):
    paths, _ = images
    assert ImageFiles(paths, mode=mode).fetch(ROWS)[0].shape == (channels, 4, 6)


def test_nothing_is_opened_before_it_is_asked_for(tmp_path):
    source = ImageFiles([tmp_path / "missing.png"] * 3)
    assert len(source) == 3 and source.spec.shape == ("batch", 3, "height", "width")
    assert source.fingerprint


def test_a_missing_file_is_named(images):
    paths, _ = images
    paths[3].unlink()
    with pytest.raises(ReadFailure, match="there is no file") as caught:
        ImageFiles(paths).fetch(np.array([0, 3]))
    assert caught.value.row == 3 and str(paths[3]) in caught.value.what


@pytest.mark.parametrize("cut", [0, 8, 40])
def test_a_damaged_file_is_named_with_the_cause(images, cut):
    paths, _ = images
    paths[2].write_bytes(paths[2].read_bytes()[:cut])
    with pytest.raises(ReadFailure, match="not an image that can be decoded") as caught:
        ImageFiles(paths).fetch(np.array([0, 2]))
    assert caught.value.row == 2 and caught.value.why
    assert "/" not in caught.value.why  # where in the library it says so is nobody's business


def test_a_folder_in_place_of_a_file_is_named(tmp_path):
    with pytest.raises(ReadFailure, match="cannot be opened"):
        ImageFiles([tmp_path]).fetch(np.array([0]))


def test_what_can_be_read_is_read_where_failures_are_skipped(images):
    paths, array = images
    paths[3].unlink()
    found, failed = ImageFiles(paths, on_error="skip").attempt(np.array([3, 1, 3, 0]))
    assert [(place, failure.row) for place, failure in failed] == [(0, 3), (2, 3)]
    assert np.array_equal(torch.stack(found).numpy(), array[[1, 0]].transpose(0, 3, 1, 2))


def test_a_pickle_has_paths_and_no_images(images):
    paths, _ = images
    source = ImageFiles([*paths] * 100)
    source.fetch(ROWS)
    data = pickle.dumps(source)
    assert len(data) < 500 * (len(str(paths[0])) + 8) + 2000
    assert torch.equal(pickle.loads(data).fetch(ROWS)[0], source.fetch(ROWS)[0])


def test_a_relative_path_is_found_from_another_folder(images, monkeypatch, tmp_path):
    paths, _ = images
    monkeypatch.chdir(paths[0].parent)
    source = ImageFiles(["0.png"])
    monkeypatch.chdir("/")
    assert source.fetch(np.array([0]))[0].shape == (3, 4, 6)


def test_the_fingerprint_follows_files_and_mode(images):
    paths, _ = images
    one = ImageFiles(paths)
    assert one.fingerprint == ImageFiles(paths).fingerprint
    assert one.fingerprint != ImageFiles(paths, mode="L").fingerprint
    os.utime(paths[0], ns=(1, 1))
    assert one.fingerprint != ImageFiles(paths).fingerprint


def test_a_missing_path_is_refused():
    with pytest.raises(DataError, match="Row 1 of a column of image files has no path"):
        ImageFiles(["a.png", None])


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="mode='RBG'") as caught:
        ImageFiles(["a.png"], mode="RBG")
    assert "'RGB'" in caught.value.mend
