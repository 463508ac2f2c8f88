"""Hashes beside files: what a run goes on from is what was written."""

from pathlib import Path

import pytest

from xrt.storage.seals import make_once, remove_sealed, seal_fits, seal_path, write_seal


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(b"first")
    write_seal(path)
    return path


def test_an_altered_file_does_not_fit(sealed: Path):
    assert seal_fits(sealed, needed=True)
    sealed.write_bytes(b"firsT")
    assert not seal_fits(sealed, needed=False)


def test_earlier_content_fits_until_four_writes_later(sealed: Path):
    for number in range(3):
        sealed.write_bytes(b"%d" % number)
        write_seal(sealed)
    sealed.write_bytes(b"first")
    assert seal_fits(sealed, needed=True)
    other = sealed.with_name("other")
    other.write_bytes(b"to come")
    write_seal(sealed, other)
    assert not seal_fits(sealed, needed=True)
    assert len(seal_path(sealed).read_text().splitlines()) == 4


def test_without_a_seal_it_depends(sealed: Path):
    seal_path(sealed).unlink()
    assert seal_fits(sealed, needed=False)
    assert not seal_fits(sealed, needed=True)
    assert not seal_fits(sealed.with_name("none"), needed=False)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"0" * 64, b"g" * 64 + b"  a.bin\n"])
def test_a_seal_that_is_none_fits_nothing(sealed: Path, content: bytes):
    seal_path(sealed).write_bytes(content)
    assert not seal_fits(sealed, needed=False)


def test_both_are_removed(sealed: Path):
    remove_sealed(sealed)
    remove_sealed(sealed)
    assert list(sealed.parent.iterdir()) == []


def test_files_are_made_again_where_one_is_altered_or_missing(tmp_path: Path):
    paths, made = [tmp_path / "a", tmp_path / "b"], []

    def make() -> None:
        made.append(1)
        for path in paths:
            path.write_text("good")

    for damage in (
        lambda: None, lambda: paths[0].write_text("evil"), paths[1].unlink,
        seal_path(paths[0]).unlink,
    ):  # fmt: skip
        if made:
            damage()
        make_once(paths, make)
        make_once(paths, make)
        assert [path.read_text() for path in paths] == ["good", "good"]
    assert len(made) == 4
