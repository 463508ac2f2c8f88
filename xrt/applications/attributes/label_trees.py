"""The label tree of an attribute model: by k-means, or out of the hierarchy of its attributes."""

from dataclasses import replace
from pathlib import Path

from xrt.applications.attributes.data.label_paths import build_taxonomy_paths
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.applications.attributes.settings import LabelTreeOf
from xrt.data.corpus import Corpus
from xrt.data.label_paths import write_label_paths
from xrt.pipeline.params import PipelineParams

FILE = "label_paths.tsv"


def set_label_tree(
    params: PipelineParams,
    label_tree: LabelTreeOf,
    space: AttributeSpace,
    corpus: Corpus,
    run_folder: Path,
) -> PipelineParams:
    """The settings with the label tree that was chosen: for a taxonomy, a file with each label's
    ancestors is written to the run folder.
    """
    if label_tree is LabelTreeOf.clusters:
        return params
    paths = build_taxonomy_paths(space, corpus.Y)
    write_label_paths(run_folder / FILE, space.labels, paths)
    inside = label_tree is LabelTreeOf.clusters_in_taxonomy
    tree = replace(params.tree, paths=str(run_folder / FILE), inside=inside)
    return replace(params, tree=tree)
