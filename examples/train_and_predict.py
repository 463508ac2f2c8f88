"""A linear model from texts in memory: fit, evaluate, save, load, ask.

python examples/train_and_predict.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

from xrt import Predictor, XRLinear, evaluate_ranking, read_corpus
from xrt.demo.catalogue import write_demo


def main(folder: Path) -> None:
    # 3,000 made-up products for training, 600 for testing; labels are brands, categories, colours
    write_demo(folder, num_train=3_000, num_test=600)
    corpus = read_corpus(folder / "trn.jsonl")
    test = read_corpus(folder / "tst.jsonl", labels=corpus.labels)
    print(f"{corpus.num_instances} instances, {corpus.num_labels} labels")

    # without arguments: three trees, beam of 10; a Corpus brings texts, labels and their names
    model = XRLinear().fit(corpus)
    scores_NL = model.predict(test.texts, k=10)
    report = evaluate_ranking(test.Y, scores_NL, ks=[1, 3, 5])
    print(f"P@1 {report.value('P@1'):.3f}, P@3 {report.value('P@3'):.3f}")

    model.save(folder / "model")
    predictor = Predictor.load(folder / "model")
    text = "slim fit briefs white xl"
    for suggestion in predictor.predict(text, k=5):
        print(f"  {suggestion.score:.2f}  {suggestion.name}")

    # only colours are allowed
    colours = [label for label in corpus.labels.ids if label.startswith("color=")]
    best = predictor.predict(text, k=1, allowed=colours)[0]
    print(f"best colour: {best.name}")

    # labels that are more likely right than wrong; a text may get none
    sure = predictor.predict(text, k=10, min_score=0.5)
    print(f"{len(sure)} labels score 0.5 or more")

    print(predictor.explain(text, k=1).to_text())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()))
