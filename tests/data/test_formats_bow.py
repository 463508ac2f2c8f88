import numpy as np
import pytest

from xrt.data import bow, read_corpus
from xrt.errors import CapacityError, DataError

GOOD = b"3 4 5\n0,4 0:1 3:0.5\n 1:2e-1\n2 \n"


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "train.txt"
        path.write_bytes(content)
        return path

    return write


def dense(matrix):
    return np.round(matrix.toarray().astype(float), 6).tolist()


def test_features_and_labels(write):
    corpus = read_corpus(write(GOOD))
    assert corpus.texts is None
    assert dense(corpus.X) == [[1, 0, 0, 0.5], [0, 0.2, 0, 0], [0, 0, 0, 0]]
    assert dense(corpus.Y) == [[1, 0, 0, 0, 1], [0] * 5, [0, 0, 1, 0, 0]]
    assert corpus.labels.ids == ("0", "1", "2", "3", "4")
    assert corpus.report.num_without_labels == 1


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD + b"\n\n",
        b"3 4 5\n4,0  3:0.5\t0:1 \n1:.2\n2,2\n",
    ],
)
def test_other_spellings_of_the_same(write, content):
    ours, theirs = read_corpus(write(content)), read_corpus(write(GOOD))
    assert dense(ours.X) == dense(theirs.X)
    assert dense(ours.Y) == dense(theirs.Y)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        (b"0 4:1", r"feature 4 is outside 0\.\.3 \(header: D = 4\)"),
        (b"5 1:1", r"label 5 is outside 0\.\.4 \(header: L = 5\)"),
        (b"-1 1:1", "label '-1' is not a whole number"),
        (b"0,,1 1:1", "label '' is not a whole number"),
        (b"0 -1:1", "'-1:1' is not feature:value"),
        (b"0 1.5:1", "'1.5:1' is not feature:value"),
        (b"0 1:", "'1:' is not feature:value"),
        (b"0 1:2:3 4", "'1:2:3' is not feature:value"),
        (b"0 1:--3", "'1:--3' is not feature:value"),
        (b"0 1:1 1:2", "feature 1 stands there twice"),
        (b"0 1:nan", "feature 1 has value nan"),
        (b"0 1:inf", "feature 1 has value inf"),
        (b"0 1:1e99", "feature 1 has value 1e99"),
        (b"0 \xff:1", "is not feature:value"),
    ],
)
def test_bad_rows(write, tmp_path, row, cause):
    path = write(b"3 4 5\n0 0:1\n" + row + b"\n1 3:3\n")
    with pytest.raises(DataError, match=rf"train.txt: line 3: .*{cause}"):
        read_corpus(path)
    corpus = read_corpus(path, skip_bad_lines=True, bad_lines_folder=tmp_path)
    assert dense(corpus.X) == [[1, 0, 0, 0], [0, 0, 0, 3]]
    assert corpus.report.skipped_rows == (1,)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"3 4\n", "'N D L' .* is needed"),
        (b"a b c\n", "'N D L' .* is needed"),
        (b"3 4 5\n0 0:1\n", "header says 3 rows, the file has 1"),
        (b"1 4 5\n0 0:1\n0 0:1\n", "line 3: the header says 1 rows, here is one more"),
        (b"0 4 5\n", "no rows"),
        (b"1 4 5\n 0:1\n", "none of the 1 rows has a label"),
    ],
)
def test_headers(write, content, cause):
    with pytest.raises(DataError, match=cause):
        read_corpus(write(content), format="bow")


def test_a_header_too_large(write):
    with pytest.raises(CapacityError, match="at most"):
        read_corpus(write(b"1 99999999999 5\n0 1:1\n"))


def test_blocks_join_and_the_fast_way_equals_the_slow_way(write, monkeypatch):
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(50):
        labels = ",".join(map(str, rng.permutation(9)[: rng.integers(0, 4)]))
        columns = np.sort(rng.permutation(30)[: rng.integers(0, 6)])
        rows.append(f"{labels} " + " ".join(f"{c}:{rng.random():.4g}" for c in columns))
    path = write(("50 30 9\n" + "\n".join(rows) + "\n").encode())
    whole = read_corpus(path)
    monkeypatch.setattr(bow, "_BLOCK_LINES", 7)
    blocks = read_corpus(path)
    monkeypatch.setattr(bow, "_parse_block", lambda lines, header: None)
    slow = read_corpus(path)
    for other in (blocks, slow):
        assert (other.X != whole.X).nnz == 0
        assert (other.Y != whole.Y).nnz == 0


def test_duplicate_rows_are_counted(write):
    assert read_corpus(write(b"3 4 5\n0 0:1\n0 0:1\n1 0:1\n")).report.num_duplicate_rows == 1
