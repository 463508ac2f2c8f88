import polars as pl
import pytest

from xrt.data import read_corpus
from xrt.errors import DataError


def ids_of(corpus, row):
    return {corpus.labels.ids[c] for c in corpus.Y[[row]].indices}


@pytest.fixture
def write(tmp_path):
    def write(content, name="trn.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_csv_with_quotes_lines_in_cells_bom_and_crlf(write):
    path = write(
        '\ufeffid,text,labels\r\n1,"a ""b"", c",x; y\r\n\r\n2,"two\r\nlines",\r\n3,🎈,y\r\n'
    )
    corpus = read_corpus(path)
    assert corpus.texts == ['a "b", c', "two\nlines", "🎈"]
    assert [ids_of(corpus, i) for i in range(3)] == [{"x", "y"}, set(), {"y"}]
    assert corpus.ids == ["1", "2", "3"]


def test_several_label_columns_are_not_split_unless_asked(write):
    path = write("title,brand,color\nPan,A;B,red\nPot,,blue\n")
    corpus = read_corpus(path, label_column=["brand", "color"])
    assert corpus.labels.ids == ("brand=A;B", "color=blue", "color=red")
    split = read_corpus(path, label_column=["brand", "color"], label_separator=";")
    assert ids_of(split, 0) == {"brand=A", "brand=B", "color=red"}
    assert ids_of(split, 1) == {"color=blue"}


@pytest.mark.parametrize("mark", [";", "\t"])
def test_other_delimiters(write, mark):
    path = write(f"text{mark}tag\na, b{mark}x|y\n")
    corpus = read_corpus(path, label_column="tag", label_separator="|")
    assert corpus.texts == ["a, b"]
    assert corpus.labels.ids == ("x", "y")


def test_a_megabyte_in_one_cell(write):
    long = "word " * (1 << 18)
    assert read_corpus(write(f"text,labels\n{long},x\n")).texts == [long.strip()]


def test_tsv_takes_quotes_as_they_are_unless_a_whole_cell_is_quoted(write):
    path = write('text\tlabels\n5" pan\tx\n"say ""hi"""\ty\n', name="trn.tsv")
    assert read_corpus(path).texts == ['5" pan', 'say "hi"']


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("only one", "1 columns where the header has 2"),
        ("a,b,c", "3 columns where the header has 2"),
        ('"a" b,c', "expected after"),
        (b"caf\xe9,x", "not UTF-8"),
    ],
)
def test_bad_rows_are_named_by_their_line(write, tmp_path, row, cause):
    row = row if isinstance(row, bytes) else row.encode()
    path = write(b'text,labels\n"two\nlines",x\n' + row + b"\ngood,y\n")
    with pytest.raises(DataError, match=rf"trn.csv: line 4: .*{cause}"):
        read_corpus(path)
    corpus = read_corpus(path, skip_bad_lines=True, bad_lines_folder=tmp_path)
    assert corpus.texts == ["two\nlines", "good"]
    assert corpus.report.skipped_rows == (1,)
    assert (tmp_path / "trn.csv.bad-lines.jsonl").exists()


def test_a_quote_never_closed_does_not_swallow_the_file(write, tmp_path):
    path = write('text,labels\na,x\n"b,y\nc,z\n')
    with pytest.raises(DataError, match="line 3: a double quote is opened here and never closed"):
        read_corpus(path)
    corpus = read_corpus(path, skip_bad_lines=True, bad_lines_folder=tmp_path)
    assert corpus.texts == ["a", "c"]
    assert corpus.report.num_skipped == 1


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("product,labels\na,x\n", "no text column text, title, content; the columns are product"),
        ("text,tags\na,x\n", "no label column labels; the columns are text, tags"),
        ("text,text,labels\na,b,x\n", "column 'text' stands there twice"),
        ("text,labels\n", "no rows"),
        ("\n\n", "no header"),
        ("text,labels\na,\n", "none of the 1 rows has a label"),
    ],
)
def test_headers_and_empty_tables(write, content, cause):
    with pytest.raises(DataError, match=cause):
        read_corpus(write(content))


def test_a_named_column_that_is_not_there(write):
    path = write("title,labels\na,x\n")
    with pytest.raises(DataError, match="no text column body; the columns are title, labels"):
        read_corpus(path, text_columns=["title", "body"])


def test_parquet_with_text_lists_and_nulls(tmp_path):
    path = tmp_path / "trn.parquet"
    pl.DataFrame(
        {
            "title": ["Pan", None],
            "labels": [["x", "y"], []],
            "brand": ["A;B", None],
            "count": [1, 2],
        }
    ).write_parquet(path)
    corpus = read_corpus(path)
    assert corpus.texts == ["Pan", ""]
    assert ids_of(corpus, 0) == {"x", "y"}
    assert read_corpus(path, label_column="brand").labels.ids == ("A", "B")
    assert read_corpus(path, label_column=["count"]).labels.ids == ("count=1", "count=2")
    with pytest.raises(DataError, match="the columns are title, labels, brand, count"):
        read_corpus(path, label_column="tags")


def test_a_file_that_is_no_parquet(write):
    with pytest.raises(DataError, match=r"trn.parquet: not a readable Parquet file"):
        read_corpus(write(b"PAR1 broken", name="trn.parquet"))
