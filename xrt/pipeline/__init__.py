"""Training from corpus to saved model, stage by stage; each stage's outputs are files."""

from xrt.pipeline.params import DatasetParams as DatasetParams
from xrt.pipeline.params import PipelineParams as PipelineParams
from xrt.pipeline.run import TrainOutcome as TrainOutcome
from xrt.pipeline.run import train as train
