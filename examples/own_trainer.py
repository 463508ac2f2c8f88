"""The matcher in a Trainer of one's own, and its encoder in a model.

python examples/own_trainer.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger

from xrt import XRTransformer, read_corpus
from xrt.demo.catalogue import write_demo
from xrt.encoder.lightning_data import matcher_modules
from xrt.encoder.params import EncoderParams, MatcherParams
from xrt.tree.label_tree import LabelTree


def main(folder: Path) -> None:
    write_demo(folder, num_train=400, num_test=100)
    trn = read_corpus(folder / "trn.jsonl")
    tst = read_corpus(folder / "tst.jsonl", labels=trn.labels)
    held_out = tst.Y[:, : trn.num_labels]  # without labels that training does not know
    tree = LabelTree.flat(trn.num_labels)  # one head over all labels
    module, data = matcher_modules(
        trn.texts,
        trn.Y,
        tree,
        folder=folder,
        encoder=EncoderParams(name="tiny-random", max_length=16),
        params=MatcherParams(num_epochs=4, head_learning_rate=0.02),
        held_out=(tst.texts, held_out),
    )
    monitor = "held_out/level_1/ndcg_at_5"
    trainer = pl.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=CSVLogger(folder, name="logs"),
        callbacks=[EarlyStopping(monitor=monitor, mode="max", patience=2)],
        log_every_n_steps=5,
        enable_progress_bar=False,
        default_root_dir=folder,
    )
    trainer.fit(module, data)
    print(f"{monitor}: {float(trainer.callback_metrics[monitor]):.3f}")
    module.encoder.save(folder / "encoder")
    model = XRTransformer(encoder=str(folder / "encoder"), max_length=16, num_epochs=0.5)
    model.fit(trn)
    print(f"a {model.model_.kind} model: {model.verdict_.message}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
