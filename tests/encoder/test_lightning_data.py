"""The matcher in a Trainer of the user's own."""

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from matcher_run import corpus

from xrt.encoder.backbone import TextEncoder
from xrt.encoder.lightning_data import MatcherModule, _figures, matcher_modules
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.errors import ConfigError, DataError
from xrt.metrics.ranking import judge, ndcg_at, precision_at

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning.*")
TINY = EncoderParams(name="tiny-random", dropout=0.0)
PARAMS = MatcherParams(
    max_batch_rows=16, num_epochs=3, head_learning_rate=0.05, dense_level_limit=4
)


def modules(folder):
    texts, Y_NL, tree = corpus()
    return matcher_modules(
        texts, Y_NL, tree, folder=folder, encoder=TINY, params=PARAMS, held_out=corpus(seed=1)[:2]
    )


def trainer_of(folder, epochs: int = 3, **arguments) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, default_root_dir=folder,
        enable_progress_bar=False, enable_model_summary=False, **arguments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> tuple[pl.Trainer, MatcherModule, list[float]]:
    folder = tmp_path_factory.mktemp("fitted")
    module, data = modules(folder)
    trainer = trainer_of(folder, enable_checkpointing=False)
    trainer.fit(module, data)
    return trainer, module, module.losses_S.tolist()


def test_it_is_fitted_and_validated_level_by_level(fitted, tmp_path):
    trainer, module, losses = fitted
    assert trainer.global_step == module.num_steps == 18
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert {f"held_out/level_{n}/{f}" for n in (1, 2) for f in ("ndcg_at_5", "p_at_1")} <= set(
        found
    )
    assert found["held_out/level_1/p_at_1"] > 0.5  # 4 nodes, about half of them right
    module.encoder.save(tmp_path / "encoder")
    assert TextEncoder.load(tmp_path / "encoder").hidden_size == module.encoder.hidden_size


def test_figures_are_those_of_the_metrics():
    rng = np.random.default_rng(0)
    scores, true = rng.random((9, 7)), rng.random((9, 7)) > 0.6
    true[:, 0] = True
    ndcg_B, first_B = _figures(torch.from_numpy(scores).float(), torch.from_numpy(true))
    judged = judge(true.astype(float), scores, 5)
    assert float(ndcg_B.mean()) == pytest.approx(ndcg_at(judged)[4], abs=1e-6)
    assert float(first_B.mean()) == pytest.approx(precision_at(judged)[0])


def test_a_fit_that_was_saved_goes_on_with_the_batches_that_follow(fitted, tmp_path):
    _, whole, losses = fitted
    module, data = modules(tmp_path)
    checkpoint = ModelCheckpoint(tmp_path, save_last=True, monitor=None)
    trainer_of(tmp_path, epochs=1, callbacks=[checkpoint]).fit(module, data)
    module, data = modules(tmp_path)
    trainer_of(tmp_path, enable_checkpointing=False).fit(
        module, data, ckpt_path=str(tmp_path / "last.ckpt"), weights_only=True
    )
    np.testing.assert_allclose(module.losses_S.tolist(), losses, rtol=1e-4)
    torch.testing.assert_close(module.head.weight, whole.head.weight, rtol=1e-3, atol=1e-5)


def test_what_does_not_fit_is_refused(tmp_path):
    texts, Y_NL, tree = corpus()
    with pytest.raises(DataError, match="95 texts, but 96 rows of labels"):
        matcher_modules(texts[1:], Y_NL, tree, folder=tmp_path, encoder=TINY)
    with pytest.raises(ConfigError, match="level 0 of the tree has 4 nodes"):
        matcher_modules(texts, Y_NL, tree, folder=tmp_path, encoder=TINY,
                        params=MatcherParams(max_match_clusters=3))  # fmt: skip
