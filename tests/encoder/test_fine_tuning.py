"""Levels trained together: candidates that follow the matcher."""

import numpy as np
import pytest
from matcher_run import Pace, corpus, train
from test_matcher_resume import fingerprint


class Accident(Exception):
    """Ends a run in its middle."""


class PaceWithAccident(Pace):
    """A run that breaks off at its 17th step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def start(self, description, total):
        self.counting = description.startswith("matcher")

    def advance(self, n=1, **figures):
        self.steps += self.counting
        if self.steps > 16:
            raise Accident


@pytest.mark.parametrize("choice", [{}, {"dense_level_limit": 100}], ids=["candidates", "all"])
def test_all_levels_are_learnt_in_one_pass_and_a_broken_run_resumes_to_the_same_bytes(
    tmp_path, monkeypatch, choice
):
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    result = train(tmp_path / "whole", **choice)
    assert result.levels == [0, 1]
    assert [head[0].shape for head in result.heads] == [(4, 32), (12, 32)]
    assert result.losses[-5:].mean() < 0.9 * result.losses[:5].mean()
    with pytest.raises(Accident):
        train(tmp_path / "broken", progress=PaceWithAccident(), **choice)
    assert (tmp_path / "broken" / "level-1.ckpt").is_file()
    train(tmp_path / "broken", **choice)
    assert fingerprint(tmp_path / "broken") == fingerprint(tmp_path / "whole")


def test_adapters_are_learnt_and_a_broken_run_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("XRT_NUM_THREADS", "1")
    settings = {"lora_rank": 2}
    result = train(tmp_path / "whole", **settings)
    assert not [name for name, _ in result.encoder.named_parameters() if "lora" in name]
    with pytest.raises(Accident):
        train(tmp_path / "broken", progress=PaceWithAccident(), **settings)
    train(tmp_path / "broken", **settings)
    assert fingerprint(tmp_path / "broken") == fingerprint(tmp_path / "whole")


def test_the_finest_head_belongs_to_the_embeddings(tmp_path):
    """Logits at unit embeddings rank a row's own labels first: the head was learnt for them."""
    result = train(tmp_path, dense_level_limit=100, steps=150)
    unit_NH = result.train_embeddings / np.linalg.norm(
        result.train_embeddings, axis=1, keepdims=True
    )
    W, b = result.heads[-1]
    best_N = (unit_NH @ W.T + b).argmax(1)
    _, Y_NL, _ = corpus()
    assert Y_NL.toarray()[np.arange(96), best_N].mean() > 0.6  # by chance one in six
