"""The label tree of an attribute model: by k-means, or out of the hierarchy of its attributes."""

from dataclasses import replace
from pathlib import Path

from xrt.applications.attributes.data.label_paths import taxonomy_paths
from xrt.applications.attributes.data.space import AttributeSpace
from xrt.data.corpus import Corpus
from xrt.data.label_paths import write_label_paths
from xrt.pipeline.params import LabelTreeOf, PipelineParams

FILE = "label_paths.tsv"


def with_taxonomy(
    params: PipelineParams, space: AttributeSpace, corpus: Corpus, run_folder: Path
) -> PipelineParams:
    """The settings with the label tree that `params.label_tree` asks for: for a taxonomy, a file
    with each label's ancestors is written to the run folder.
    """
    if params.label_tree is LabelTreeOf.clusters:
        return params
    paths = taxonomy_paths(space, corpus.Y)
    write_label_paths(run_folder / FILE, space.labels, paths)
    inside = params.label_tree is LabelTreeOf.clusters_in_taxonomy
    tree = replace(params.tree, paths=str(run_folder / FILE), inside=inside)
    return replace(params, tree=tree)
