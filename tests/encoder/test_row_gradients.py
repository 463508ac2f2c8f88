"""Gradients of row-wise heads over two processes."""

import gc
import os
import socket
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from xrt.encoder.heads import LabelHead
from xrt.encoder.row_gradients import average_row_gradients, leave_to_rows

NUM_NODES, WIDTH = 40, 3
NODES = [[[5, 7, 30], [], []], [[7, 39], [2, 2, 5], []]]  # of each process at each step


class Model(nn.Module):
    """A linear layer and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(WIDTH, WIDTH)
        self.heads = nn.ModuleList([LabelHead(NUM_NODES, WIDTH, row_wise=True)])
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))

    def forward(self, nodes: list[int]) -> torch.Tensor:
        """Squared logits of the nodes, for a row each."""
        nodes_E = torch.tensor(nodes, dtype=torch.long)
        x_EH = (
            torch.ones(max(1, len(nodes)), WIDTH)
            * torch.arange(1.0, max(1, len(nodes)) + 1)[:, None]
        )
        logits_E = self.heads[0].at(self.encoder(x_EH), torch.arange(len(nodes)), nodes_E)
        return (logits_E**2).sum()


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.to_dense() for parameter in model.parameters()]


def one_process(rank: int, port: int, folder: str) -> None:
    """Steps under DDP; leaves the gradients of each in a file."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2, timeout=timedelta(seconds=60))
    model = Model()
    leave_to_rows(model)
    ddp, found = DistributedDataParallel(model), []
    for nodes in NODES[rank]:
        model.zero_grad()
        ddp(nodes).backward()
        average_row_gradients(model)
        found.append(gradients(model))
    model.zero_grad()
    if rank == 0:
        ddp.module([1]).backward()  # the other has no gradient at all
    average_row_gradients(model)
    found.append([parameter.grad.to_dense() for parameter in model.heads.parameters()])
    torch.save(found, Path(folder) / f"{rank}.pt")
    del ddp, model  # they hold the group: gloo's threads must end before the interpreter does
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.ddp
def test_two_processes_have_the_mean_of_their_gradients(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_process, (port, str(tmp_path)), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for step, nodes in enumerate([*zip(*NODES, strict=True), ([1], None)]):
        of_processes = []
        for part in nodes:
            model = Model()
            if part is not None:
                model(part).backward()
                of_processes.append(gradients(model)[-2 if part == [1] else 0 :])
        for rank in (0, 1):
            for i, mean in enumerate(found[rank][step]):
                torch.testing.assert_close(mean, sum(each[i] for each in of_processes) / 2)
        assert all(map(torch.equal, found[0][step], found[1][step]))


def test_one_process_keeps_its_gradients():
    model = Model()
    model([5, 7]).backward()
    before = gradients(model)
    average_row_gradients(model)
    assert all(map(torch.equal, before, gradients(model)))


def test_ddp_is_told_of_row_wise_heads_alone():
    model = Model()
    model.heads.append(LabelHead(4, WIDTH))
    leave_to_rows(model)
    assert model._ddp_params_and_buffers_to_ignore == ["heads.0.weight", "heads.0.bias"]
