import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xrt.errors import ArtifactError, ConfigError
from xrt.storage.artifact import FORMAT_VERSION, accept_card, open_artifact, write_artifact
from xrt.storage.atomic import save_array, write_text

MANIFEST = {"kind": "linear", "metrics": {"P@1": 0.5}, "configuration": {"beam_size": 10}}


def fill(folder: Path) -> None:
    (folder / "encoder").mkdir()
    write_text(folder / "encoder" / "config.json", '{"hidden_size": 8}')
    write_text(folder / "labels.tsv", "0\tchargers\n1\tlamps\n")
    write_text(folder / "README.md", "# a model\n")
    save_array(folder / "weights.npy", np.arange(24, dtype=np.float32))
    save_array(folder / "twin.npy", np.arange(24, dtype=np.float32)[::-1])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "model", fill, MANIFEST)
    return tmp_path / "model"


def refused(folder: Path, match: str, verify: bool | str = True) -> str:
    with pytest.raises(ArtifactError, match=match) as caught:
        open_artifact(folder, verify)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_saved_is_opened(saved: Path) -> None:
    artifact = open_artifact(saved)
    assert artifact.kind == "linear"
    assert artifact.manifest["metrics"] == {"P@1": 0.5}
    assert artifact.manifest["configuration"] == {"beam_size": 10}
    assert {"xrt", "python", "numpy"} <= artifact.manifest["versions"].keys()
    assert artifact.path("labels.tsv").read_text().startswith("0\tchargers")
    assert artifact.path("encoder") == saved / "encoder"
    assert artifact.num_bytes == sum(
        path.stat().st_size for path in saved.rglob("*.*") if path.name != "manifest.json"
    )
    with pytest.raises(ArtifactError, match=r"this linear model has no absent\.npy"):
        artifact.path("absent.npy")
    assert not artifact.has("enc")


def test_equal_models_have_equal_manifests(saved: Path, tmp_path: Path) -> None:
    again = write_artifact(tmp_path / "again", fill, MANIFEST)
    other = write_artifact(tmp_path / "other", fill, {**MANIFEST, "metrics": {"P@1": 0.6}})
    digest = open_artifact(saved).digest
    assert (again.digest == digest, other.digest == digest) == (True, False)
    assert open_artifact(saved, expect=digest.upper()).digest == digest
    with pytest.raises(ArtifactError, match="not 00ff as expected"):
        open_artifact(saved, expect="00ff")


def test_a_failed_save_leaves_the_old_model(saved: Path) -> None:
    def broken(folder: Path) -> None:
        fill(folder)
        raise KeyboardInterrupt

    before = open_artifact(saved)
    with pytest.raises(KeyboardInterrupt):
        write_artifact(saved, broken, MANIFEST)
    assert open_artifact(saved) == before
    assert os.listdir(saved.parent) == ["model"]


def test_a_model_that_did_not_change_is_not_written_again(saved: Path) -> None:
    before = saved.stat().st_ino
    write_artifact(saved, fill, MANIFEST)
    assert saved.stat().st_ino == before
    (saved / "labels.tsv").write_text("0\tchargers\n1\tlomps\n")  # altered: not the same model
    write_artifact(saved, fill, MANIFEST)
    assert saved.stat().st_ino != before
    assert open_artifact(saved).path("labels.tsv").read_text() == "0\tchargers\n1\tlamps\n"
    assert os.listdir(saved.parent) == ["model"]


def test_a_model_may_be_replaced_but_nothing_else(saved: Path, tmp_path: Path) -> None:
    write_artifact(saved, fill, {**MANIFEST, "kind": "transformer"})
    assert open_artifact(saved).kind == "transformer"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("thesis", "file"):
        with pytest.raises(ArtifactError, match="exists and is not a saved model; choose another"):
            write_artifact(tmp_path / name, fill, MANIFEST)
    assert (tmp_path / "thesis" / "chapter1").exists()


@pytest.mark.parametrize(
    ("manifest", "error", "match"),
    [
        ({}, ArtifactError, "kind None of a model"),
        ({"kind": "linear", "files": {}}, ArtifactError, r"manifest keys \['files'\]"),
        ({"kind": "linear", "metrics": {"P@1": float("nan")}}, ConfigError, "manifest.metrics.P@1"),
    ],
)
def test_a_manifest_that_says_nothing_useful_is_refused(
    tmp_path: Path, manifest: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        write_artifact(tmp_path / "model", fill, manifest)
    assert os.listdir(tmp_path) == []


def test_no_model_at_all(saved: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere: does not exist; give the folder of a saved model")
    refused(saved / "encoder", r"has no manifest\.json")
    with pytest.raises(ArtifactError, match="verify=False is unknown"):
        open_artifact(saved, verify=False)


def test_an_altered_file_is_named(saved: Path) -> None:
    (saved / "labels.tsv").write_text("0\tchargers\n1\tlambs\n")
    message = refused(saved, r"labels\.tsv has been altered \(its sha256 differs\)")
    assert "copy the model again" in message
    assert open_artifact(saved, verify="sizes").kind == "linear"


def test_an_edited_card_is_refused_until_its_owner_accepts_it(saved: Path) -> None:
    (saved / "README.md").write_text("license: cc0-1.0\n# a model\n")
    refused(saved, r"README\.md has 27 bytes instead of 10; .* accept_card\(folder\)")
    accept_card(saved)
    assert "README.md" in open_artifact(saved).files
    (saved / "labels.tsv").write_text("0\tchargers\n1\tlambs\n")
    with pytest.raises(ArtifactError, match=r"labels\.tsv has been altered"):
        accept_card(saved)


MUTATIONS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda f: os.truncate(f / "weights.npy", 100),
        "weights.npy has 100 bytes instead of 224",
    ),
    "missing": (lambda f: (f / "labels.tsv").unlink(), "labels.tsv is missing"),
    "two faults": (
        lambda f: [(f / "labels.tsv").unlink(), (f / "new").touch()],
        r"labels.tsv is missing \(and 1 more\)",
    ),
    "added": (lambda f: (f / "encoder" / "model.bin").touch(), "model.bin does not belong here"),
    "added hidden": (lambda f: (f / ".hidden").touch(), "unexpected name '.hidden'"),
    "added folder": (lambda f: (f / "empty").mkdir(), "empty folder 'empty/'"),
    "odd name": (lambda f: (f / "a\nb").touch(), r"unexpected name 'a\\nb'"),
    "linked file": (
        lambda f: [
            (f / "labels.tsv").rename(f.parent / "labels.tsv"),
            (f / "labels.tsv").symlink_to(f.parent / "labels.tsv"),
        ],
        r"labels.tsv is a link; copy the real file \(cp -L\)",
    ),
    "linked folder": (
        lambda f: [
            (f / "encoder").rename(f.parent / "encoder"),
            (f / "encoder").symlink_to(f.parent / "encoder"),
        ],
        "encoder is a link",
    ),
    "linked manifest": (
        lambda f: [
            (f / "manifest.json").rename(f.parent / "manifest.json"),
            (f / "manifest.json").symlink_to(f.parent / "manifest.json"),
        ],
        r"manifest\.json: is a link",
    ),
    "device": (
        lambda f: [(f / "labels.tsv").unlink(), os.mkfifo(f / "labels.tsv")],
        "labels.tsv is neither a file nor a folder",
    ),
    "swapped": (
        lambda f: [
            (f / "weights.npy").rename(f / "x"),
            (f / "twin.npy").rename(f / "weights.npy"),
            (f / "x").rename(f / "twin.npy"),
        ],
        r"twin\.npy has been altered .* \(and 1 more\)",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_folder_is_refused(saved: Path, name: str) -> None:
    mutate, match = MUTATIONS[name]
    mutate(saved)
    refused(saved, match)
    if name != "swapped":
        refused(saved, match, verify="sizes")


def edit(saved: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest and give it a right checksum again, as an ill-meant person would."""
    from xrt.storage import artifact

    content = json.loads((saved / "manifest.json").read_bytes())
    del content["checksum"]
    change(content)
    (saved / "manifest.json").write_bytes(artifact._render(content))


@pytest.mark.parametrize(
    "name",
    ["../labels.tsv", "/etc/hosts", "a//b", "encoder/../labels.tsv", "a\\b", "", ".", "x" * 300],
)
def test_names_that_lead_elsewhere_are_refused(saved: Path, name: str) -> None:
    edit(saved, lambda content: content["files"].update({name: content["files"]["labels.tsv"]}))
    refused(saved, "file name .* is not allowed")


@pytest.mark.parametrize(
    "record", [None, [], {"size": 1}, {"size": True}, {"size": -1}, {"size": 1e3}]
)
def test_records_without_size_and_hash_are_refused(saved: Path, record: Any) -> None:
    if isinstance(record, dict):
        record = {"sha256": "0" * 64, **record} if record.get("size") != 1 else record
    edit(saved, lambda content: content["files"].update({"labels.tsv": record}))
    refused(saved, "no size and sha256 of labels.tsv")


@pytest.mark.parametrize("key", ["versions", "metrics", "configuration", "files", "kind"])
def test_a_manifest_without_its_parts_is_refused(saved: Path, key: str) -> None:
    edit(saved, lambda content: content.update({key: [1]}))
    refused(saved, f"manifest.json: (has no usable '{key}'|unknown kind)")
    edit(saved, lambda content: content.pop(key))
    refused(saved, f"manifest.json: (has no usable '{key}'|unknown kind)")


def test_another_format_version_says_what_to_do(saved: Path) -> None:
    path = saved / "manifest.json"
    for version, advice in ((FORMAT_VERSION + 1, "update xrt"), (0, "train the model anew")):
        content = {"format": "xrt-model", "format_version": version, "versions": {"xrt": "7.1"}}
        path.write_text(json.dumps(content))
        assert advice in refused(saved, f"format version {version}, but this xrt reads 2")
    assert "xrt 7.1" in refused(saved, "format version")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"format": "xrt-model", "format": "xrt-model"}', "a key stands twice"),
        (b'{"format": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "too deep"),
        (b"[" * 40 + b"]" * 40, "nested deeper than 32 levels"),
        (b"1" * 5000, "not valid JSON"),
        (b" " * (5 << 20), "larger than the 4194304 bytes allowed"),
        (b"{}", "not the manifest of an xrt model"),
        (b'{"format": "xrt-model"}', "has been altered"),
        (b'{"format": "xrt-model", "format_version": "2"}', "has been altered"),
    ],
)
def test_a_manifest_that_is_none_is_refused(saved: Path, content: bytes, match: str) -> None:
    (saved / "manifest.json").write_bytes(content)
    assert "manifest.json" in refused(saved, match)


def mutate_at_random(folder: Path, dice: random.Random) -> str:
    """One random change of one random file; returns what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = dice.choice(files)
    data = bytearray(path.read_bytes())
    kind = dice.choice(["bit", "byte", "cut", "grow", "remove", "move", "link", "copy", "swap"])
    if kind == "bit":
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
    elif kind == "byte":
        position = dice.randrange(len(data))
        data[position] = dice.choice([byte for byte in range(256) if byte != data[position]])
        path.write_bytes(data)
    elif kind == "cut":
        path.write_bytes(data[: dice.randrange(len(data))])
    elif kind == "grow":
        path.write_bytes(data + dice.randbytes(dice.randrange(1, 9)))
    elif kind == "remove":
        path.unlink()
    elif kind == "move":
        path.rename(path.with_name("moved"))
    elif kind == "link":
        path.rename(folder.parent / "elsewhere")
        path.symlink_to(folder.parent / "elsewhere")
    elif kind == "copy":
        shutil.copy(path, folder / "copy")
    else:
        other = dice.choice([file for file in files if file.read_bytes() != data])
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
    return f"{kind} of {path.name}"


def test_a_hundred_random_mutations_are_all_refused(saved: Path, tmp_path: Path) -> None:
    dice = random.Random(0)
    for number in range(120):
        mutated = tmp_path / str(number) / "model"
        shutil.copytree(saved, mutated)
        what = mutate_at_random(mutated, dice)
        assert "\n" not in refusal(mutated), what


def refusal(folder: Path) -> str:
    """The message with which a folder is refused; a line break where it is opened."""
    try:
        return f"opened as \n {open_artifact(folder)}"
    except ArtifactError as error:
        return str(error)
