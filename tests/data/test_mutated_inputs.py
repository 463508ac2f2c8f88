"""Every reader on inputs made wrong in many ways: it reads them, or says why not."""

import gzip
import io
import json
import lzma
import re
import warnings

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from tests.mutations import bounded, mutants
from xrt.applications.attributes.data.catalogue import read_catalogue
from xrt.cli.prediction import label_ids
from xrt.cli.text_input import TextInput
from xrt.data import LabelTable, read_corpus, read_label_table
from xrt.data.collect import BadLines
from xrt.data.label_paths import read_label_paths
from xrt.data.lf import read_filters
from xrt.data.npz import load_matrix
from xrt.data.options import ReadOptions
from xrt.errors import XrtError

FEW, MANY = 30, 2000
LABELS = LabelTable.from_ids(["x", "y", "z;1", "http://x.org/1"])
RECORDS = [
    {
        "uid": i,
        "title": f"a \u00e9 row {i}",
        "content": 'with "quotes", and\nlines',
        "labels": labels,
    }
    for i, labels in enumerate((["x", "y"], ["y"], {"z": 0.5}, [3.0], ["x", "Tea &amp; more"]))
]
JSONL = "".join(json.dumps(record) + "\n" for record in RECORDS).encode() * 3
CSV = (
    b'id,text,labels,weight\n1,"a ""b"", c",x; y,1\n2,"two\nlines",,0.5\n3,plain,y,2\n'
    b'4,"x, y",Tea &amp; more,1\n5,z,x y,1\n'
) * 2
TSV = b'id\ttext\tlabels\n1\t5" pan\tx;y\n2\t"say ""hi"""\ty\n3\tplain\t\n4\tmore\tx\n' * 2
BOW = b"4 6 3\n0,1 0:1 2:0.5\n2 3:1e-1 5:2\n 1:1\n0 4:1\n"
LF = b"".join(
    json.dumps({"uid": str(i), "title": f"row {i}", "content": "", "target_ind": [i, 5 - i],
                "target_rel": [1.0, 0.5]}).encode() + b"\n"
    for i in range(4)
)  # fmt: skip
TABLE = b"x\tone\ny\ttwo\nz;1\t\nhttp://x.org/1\tfour \xc3\xa9\n"
VOCABULARY = b'id,name\nx,one\n"y","two, or more"\nhttp://x.org/1,"a ""b"""\n'
PATHS = b"x\tHome > Kitchen\ny\tHome\nz;1\t\nhttp://x.org/1\tA>B > C\n"
FILTERS = b"0 1\n2 3\n1 0\n"
TEXT = "one text\n\nanother \u00e9\n{curly}\n".encode()


def parquet():
    buffer = io.BytesIO()
    pl.DataFrame(
        {"text": ["a", None, "c"], "labels": [["x", "y"], [], ["z"]], "weight": [1.0, 2.0, 0.5]}
    ).write_parquet(buffer)
    return buffer.getvalue()


def npz(compressed=True):
    buffer = io.BytesIO()
    matrix = sp.random_array((6, 9), density=0.4, rng=np.random.default_rng(0), format="csr")
    sp.save_npz(buffer, matrix, compressed=compressed)
    return buffer.getvalue()


def corpus(path, **options):
    read_corpus(path, bad_lines_folder=path.parent, **options)


def pair(path):
    Y_path = path.with_name(path.name.replace("X.", "Y."))
    Y_path.write_bytes(npz())
    corpus(path)


def table(path):
    read_label_table(path)
    read_label_paths(path, LABELS)
    label_ids(str(path), LABELS)


def texts(path):
    options = ReadOptions(text_columns=["text"], require_labels=False)
    for source in (TextInput(str(path), options=options), TextInput(str(path))):
        for _ in source.batches(100, BadLines(path, source.options)):
            pass


READERS = {
    "jsonl": ("trn.jsonl", JSONL, corpus),
    "jsonl, skipping": ("trn.jsonl", JSONL, lambda path: corpus(path, skip_bad_lines=True)),
    "jsonl, packed": ("trn.jsonl.gz", gzip.compress(JSONL, mtime=0), corpus),
    "jsonl, columns": (
        "trn.jsonl", JSONL, lambda path: corpus(path, label_column=["uid", "labels"])
    ),
    "csv": ("trn.csv", CSV, lambda path: corpus(path, weight_column="weight")),
    "csv, skipping": ("trn.csv", CSV, lambda path: corpus(path, skip_bad_lines=True)),
    "csv, packed": ("trn.csv.xz", lzma.compress(CSV), corpus),
    "tsv": ("trn.tsv", TSV, lambda path: corpus(path, skip_bad_lines=True)),
    "parquet": ("trn.parquet", parquet(), lambda path: corpus(path, weight_column="weight")),
    "bow": ("trn.txt", BOW, lambda path: corpus(path, skip_bad_lines=True)),
    "lf": ("trn.json", LF, lambda path: corpus(path, skip_bad_lines=True)),
    "npz": ("X.trn.npz", npz(), pair),
    "matrix": ("m.npz", npz(compressed=False), load_matrix),
    "label table": ("labels.tsv", TABLE, table),
    "vocabulary": ("names.csv", VOCABULARY, table),
    "paths": ("paths.tsv", PATHS, lambda path: read_label_paths(path, LABELS)),
    "filters": ("filters.txt", FILTERS, read_filters),
    "texts": ("p.txt", TEXT, texts),
    "texts of csv": ("p.csv", CSV, texts),
    "texts of jsonl": ("p.jsonl", JSONL, texts),
    "texts of parquet": ("p.parquet", parquet(), texts),
    "catalogue": ("cat.csv", CSV, lambda path: read_catalogue(
        path, skip_bad_lines=True, bad_lines_folder=path.parent)),
    "catalogue of jsonl": ("cat.jsonl", JSONL, read_catalogue),
    "catalogue of parquet": ("cat.parquet", parquet(), read_catalogue),
}  # fmt: skip


def read_mutants(folder, name, count):
    file, content, read = READERS[name]
    path = folder / file
    num_refused = 0
    for number, mutant in enumerate(mutants(content, count, seed=0)):
        path.write_bytes(mutant)
        with warnings.catch_warnings(), bounded(f"{name}, mutant {number}"):
            warnings.simplefilter("ignore")
            try:
                read(path)
            except XrtError:
                num_refused += 1
                raise
    assert num_refused


@pytest.mark.parametrize("name", READERS)
def test_a_few_mutants_of_each_input(tmp_path, name):
    read_mutants(tmp_path, name, FEW)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", READERS)
def test_many_mutants_of_each_input(tmp_path, name):
    read_mutants(tmp_path, name, MANY)


def zipped(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def csr(shape, **changes):
    parts = {
        "format": np.array(b"csr"), "shape": np.array(shape),
        "indptr": np.zeros(shape[0] + 1, np.int32), "indices": np.zeros(0, np.int32),
        "data": np.zeros(0, np.float32),
    }  # fmt: skip
    return zipped(**{**parts, **changes})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("Y.trn.npz", csr((2, 1 << 40)), "1099511627776 labels, where a file of this size"),
        ("Y.trn.npz", csr((2, 1 << 62)), "labels, where a file of this size"),
        ("Y.trn.npz", zipped(format=np.array(b"coo"), shape=np.array((1 << 40, 2)),
            row=np.zeros(1, np.int64), col=np.zeros(1, np.int64), data=np.ones(1)), "rows in"),
        ("Y.trn.npz", csr((2, 3), data=np.zeros(20_000_000)), "that unpack to 160"),
        ("Y.trn.npz", zipped(format=np.array(["csr"], object)), "needs pickle"),
        ("Y.trn.npz", b"PK\x03\x04", "not a sparse matrix"),
        ("trn.txt", b"2 3 2147483647\n0 0:1\n1 1:1\n", "2147483647 labels, where a file"),
        ("trn.txt", b"2 3 99999999999\n0 0:1\n1 1:1\n", "99999999999 columns"),
        ("trn.json", b'{"target_ind": [2147483646], "title": "a"}\n', "2147483647 labels, where"),
    ],
)  # fmt: skip
def test_sizes_that_the_file_cannot_be_about(tmp_path, name, content, message):
    (tmp_path / "X.trn.npz").write_bytes(csr((2, 3)))
    (tmp_path / name).write_bytes(content)
    seen = []
    with bounded(name):
        try:
            read_corpus(tmp_path / name)
        except XrtError as err:
            seen.append(str(err))
            raise
    assert re.search(message, seen[0])
