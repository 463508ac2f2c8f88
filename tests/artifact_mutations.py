"""Saved models made wrong in many ways, by a seed; opened and asked in a process of their own.

A mutant is a copy of a model in which one file was changed, and the manifest is kept or made right
again. A worker opens mutants one after another and writes what came of each; a crash or a hang ends
the worker, and is a fault of the mutant that it was at. Run as

    python -m tests.artifact_mutations MODEL FIRST COUNT KEEP VERIFY
"""

import faulthandler
import hashlib
import io
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.mutations import BYTES, SECONDS, mutants
from xrt.errors import XrtError
from xrt.storage.artifact import MANIFEST, _render

TEXTS = ["a red shirt", "kare losox", "", "x", "large blue mug " * 40, "mitix nure the 24 cm"]
ITEMS = [
    {"title": "tavola stoneware bowl 24 cm", "text": "red shirt", "price": "12.50 EUR"},
    {"title": "", "text": ""},
]
CHANGED, SAME, REFUSED = "other answers", "same answers", "refused"


def mutate(folder: Path, seed: int) -> str:
    """Change one file of a model by a seed; its name and what was done."""
    rng = random.Random(seed)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if name not in (MANIFEST, "README.md")]
    name = rng.choice(names)
    path = folder / name
    if rng.random() < 0.05:
        other = rng.choice(names)
        content = (folder / other).read_bytes()
        what = f"{name}: content of {other}"
    elif name.endswith(".npy") and rng.random() < 0.85:
        content, how = mutate_array(path.read_bytes(), rng)
        what = f"{name}: {how}"
    elif name.endswith(".json") and rng.random() < 0.85:
        content, how = mutate_json(path.read_bytes(), rng)
        what = f"{name}: {how}"
    else:
        content = next(mutants(path.read_bytes(), 1, seed))
        what = f"{name}: other bytes"
    path.unlink()  # it may be linked to the model's own
    path.write_bytes(content)
    return what


def mutate_array(content: bytes, rng: random.Random) -> tuple[bytes, str]:  # noqa: C901
    """An npy file with other numbers, another shape, or another type."""
    array = np.load(io.BytesIO(content))
    how = rng.choice((*_NUMBERS, *_NUMBERS, *_SHAPES))
    place = rng.randrange(array.size) if array.size else 0
    flat = array.reshape(-1).copy()
    changed: np.ndarray = flat.reshape(array.shape)
    is_float = array.dtype.kind == "f"
    limits: Any = np.finfo(array.dtype) if is_float else np.iinfo(array.dtype)
    some = rng.choice([2, 7, 255, 1300, 70_000, 2**31 - 1])
    single = {
        "min": limits.min, "max": limits.max, "-1": -1, "0": 0, "huge": limits.max // 2,
        "nan": math.nan, "inf": math.inf, "random": some,
    }  # fmt: skip
    with np.errstate(all="ignore"):
        if how in single and array.size:
            value = single[how]
            if not is_float:
                value = limits.max if not math.isfinite(value) else int(value)
                value = max(min(value, limits.max), limits.min)
            flat[place if rng.random() < 0.7 else slice(None)] = value
        elif how == "bit" and array.size:
            raw = flat.view(np.uint8)
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        elif how == "reversed":
            flat[:] = flat[::-1].copy()
        elif how == "shuffled":
            flat[:] = flat[np.random.default_rng(place).permutation(len(flat))]
        elif how == "one more":
            flat[:] = flat + np.ones(1, array.dtype)
        elif how == "shorter":
            changed = changed[:-1]
        elif how == "longer":
            changed = np.concatenate([changed, changed[-1:]])
        elif how == "empty":
            changed = changed[:0]
        elif how == "flat":
            changed = flat
        elif how == "deep":
            changed = changed[None]
        elif how == "wide":
            changed = changed.astype(np.float64 if is_float else np.int64)
        elif how == "narrow":
            changed = changed.astype(np.float16 if is_float else np.int8)
        elif how == "fortran":
            changed = np.asfortranarray(changed)
        elif how == "bytes":
            return next(mutants(content, 1, place)), "other bytes"
        elif how == "header":
            return next(mutants(content[:128], 1, place)) + content[128:], "other header"
    file = io.BytesIO()
    np.save(file, changed)
    return file.getvalue(), how


_NUMBERS = (
    "min", "max", "-1", "0", "huge", "nan", "inf", "random", "bit", "bit", "reversed", "shuffled",
    "one more",
)  # fmt: skip
_SHAPES = (
    "shorter", "longer", "empty", "flat", "deep", "wide", "narrow", "fortran", "bytes", "header",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 0.5, 1e308, -1e308, 2**31, 2**63, 10**30, 10**400, "", "x",
    "linear", "\ud800", [], {}, [[]], [1, 2], {"a": 1}, 1e-300, 10**9, 300, "float16", "uint8",
)  # fmt: skip


def mutate_json(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    """A JSON file with another value somewhere, or without one."""
    value = json.loads(content)
    places = list(_places(value))
    if not places:
        return b"[]", "a list"
    where, key = rng.choice(places)
    if rng.random() < 0.1:
        return content.replace(b"1", rng.choice([b"NaN", b"1e999", b"[" * 9999]), 1), "odd JSON"
    if rng.random() < 0.2:
        del where[key]
        how = f"{key} left out"
    else:
        where[key] = rng.choice(_VALUES)
        how = f"{key} = {str(where[key])[:20]!r}"
    return json.dumps(value).encode(), how


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def renew_manifest(folder: Path) -> None:
    """Make the manifest right again: what whoever may write to a model can do."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_bytes())
    manifest.pop("checksum")
    for name, record in manifest["files"].items():
        data = (folder / name).read_bytes()
        record |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    settings = folder / "model.json"
    for index in folder.rglob("index.faiss"):  # its hash stands in model.json, too
        _renew_index(settings, index)
    if settings.exists():
        data = settings.read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        manifest["files"]["model.json"] = {"size": len(data), "sha256": sha256}
    path.unlink()
    path.write_bytes(_render(manifest))


def _renew_index(settings: Path, index: Path) -> None:
    try:
        content = json.loads(settings.read_bytes())
        part = content["sources"][index.parent.name]["index"]
        part["sha256"] = hashlib.sha256(index.read_bytes()).hexdigest()
        text = json.dumps(content)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return
    settings.unlink()
    settings.write_text(text)


def answers(folder: Path, verify: bool | str) -> Any:
    """What a model says to some texts, in ways that reach its parts. Raises what opening raises."""
    from xrt.applications.attributes.predictor import AttributePredictor, is_attribute_model
    from xrt.predict import Predictor

    if is_attribute_model(folder):
        attributes = AttributePredictor.load(folder, verify, num_threads=1)
        found = attributes.predict_items(ITEMS)
        return [{name: (s.label, s.name, s.score) for name, s in row.items()} for row in found]
    predictor = Predictor.load(folder, verify, num_threads=1)
    model = predictor.model
    if model.features is None:
        rows = np.eye(8, model.num_features, dtype=np.float32)
        return [model.predict(rows, 3).toarray().tolist(), model.predict(rows[:1], 3).data.tolist()]
    said = [
        predictor.predict(TEXTS, 3),
        predictor.predict(TEXTS[0], 3),
        predictor.predict(TEXTS[:2], 2, tail=0.5),
        predictor.predict(TEXTS[:2], 2, allowed=list(model.labels.ids)[:3]),
    ]
    explained = predictor.explain(TEXTS[0], 2).to_dict()
    return json.loads(json.dumps([said, explained], default=vars))


def work(model: Path, first: int, count: int, keep: bool, verify: bool | str) -> None:
    """Open mutants first .. first + count - 1; a line of JSON for each, and one before it."""
    expected = answers(model, verify)
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory(prefix="xrt-mutant-") as home:
            folder = Path(home) / "model"
            shutil.copytree(model, folder, copy_function=os.link)
            what = mutate(folder, seed)
            changed = any(
                path.read_bytes() != (model / path.relative_to(folder)).read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            )
            if not keep:
                renew_manifest(folder)
            _say(seed=seed, at=what)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            came = _outcome(folder, verify, expected)
            faulthandler.cancel_dump_traceback_later()
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
            if grown > BYTES:
                came = f"took {grown >> 20} MB"
            if keep and changed and verify is True and came != REFUSED:
                came = f"altered and not refused: {came}"
            _say(seed=seed, came=came)


def _say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _outcome(folder: Path, verify: bool | str, expected: Any) -> str:
    try:
        found = answers(folder, verify)
    except XrtError as error:
        lines = str(error).strip().splitlines()
        return REFUSED if len(lines) == 1 else f"a message of {len(lines)} lines: {lines}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    text = json.dumps(found, default=vars)
    if "NaN" in text or "Infinity" in text:
        return "a score that is no number"
    return SAME if found == expected else CHANGED


def outcomes(
    model: Path, first: int, count: int, keep: bool, verify: bool | str = True
) -> tuple[dict[str, int], list[str]]:
    """How often each good outcome came, and each fault with its mutant's seed and change."""
    counts: dict[str, int] = {}
    faults: list[str] = []
    end = first + count
    while first < end:
        how = [str(model), str(first), str(end - first), str(int(keep)), str(verify)]
        ran = subprocess.run(
            [sys.executable, "-m", "tests.artifact_mutations", *how],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
        assert lines, f"{how}: {ran.stderr[-2000:]}"
        at = ""
        for line in lines:
            at = line.get("at", at)
            if "came" in line:
                came = line["came"]
                if came in (SAME, REFUSED, CHANGED):
                    counts[came] = counts.get(came, 0) + 1
                else:
                    faults.append(f"{line['seed']}: {at}: {came}")
        first = lines[-1]["seed"] + 1
        if "came" not in lines[-1]:
            faults.append(
                f"{lines[-1]['seed']}: {at}: ended with {ran.returncode}; {ran.stderr[-900:]}"
            )
    return counts, faults


if __name__ == "__main__":
    place, begin, how_many, keeps, checks = sys.argv[1:]
    work(
        Path(place),
        int(begin),
        int(how_many),
        bool(int(keeps)),
        checks if checks == "sizes" else True,
    )
