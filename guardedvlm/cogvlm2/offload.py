"""Visual experts in host memory: what serves the prefill alone (tower, adapter, visual experts: 11.5 of 19.5 billion
parameters) waits in pinned memory and is copied to the device piece by piece, in the order in which a prompt needs it.

Two buffers on the device take turns: while one piece computes, the next one is copied beside it on a stream of its own.
Decoding touches none of them, so it is as fast as with everything on the device. On a CPU the same copies are made one
after the other, which shows that the order and the places are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

ALIGNMENT = 256
"""Bytes at whose multiples tensors begin in a buffer, as the CUDA allocator has it."""
BUFFERS = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """Modules that are needed together: copied before the first of them runs, given up after the last."""

    modules: tuple[nn.Module, ...]

    def parameters(self) -> Iterator[nn.Parameter]:
        """Every parameter, once."""
        for module in self.modules:
            yield from module.parameters()

    @property
    def bytes(self) -> int:
        """Room that the piece takes in a buffer."""
        return sum(_room(parameter) for parameter in self.parameters())


def pieces_of(model: Any) -> tuple[Piece, ...]:
    """What a prompt with a picture needs besides the language path, in the order in which it needs it."""
    tower = model.model.vision
    pieces = [Piece((tower.patch_embedding,)), *(Piece((layer,)) for layer in tower.transformer.layers)]
    pieces.append(Piece((tower.conv, tower.linear_proj)))
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        pieces.append(Piece((attention.vision_expert_query_key_value, attention.vision_expert_dense, mlp.vision_mlp)))
    return tuple(pieces)


class Offload:
    """Keeps `pieces_of(model)` in host memory and everything else on `device`. The model is on the CPU before."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self.pieces = pieces_of(model)
        self._device = device
        self._streams = device.type == "cuda"
        self._copying: Any = torch.cuda.Stream(device) if self._streams else None
        self._host = [_to_host(piece, pin=self._streams) for piece in self.pieces]
        self._move_rest(model)
        size = max(piece.bytes for piece in self.pieces)
        self._buffers = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(BUFFERS)]
        self._copied: list[Any] = [None] * BUFFERS  # event: the buffer's piece is complete
        self._used: list[Any] = [None] * BUFFERS  # event: nothing computes with the buffer's piece any more
        self._held: list[int | None] = [None] * BUFFERS  # piece in the buffer
        for index, piece in enumerate(self.pieces):
            piece.modules[0].register_forward_pre_hook(self._before(index))
            piece.modules[-1].register_forward_hook(self._after(index))

    @property
    def host_bytes(self) -> int:
        """Bytes that wait in host memory."""
        return sum(tensor.numel() * tensor.element_size() for tensors in self._host for tensor in tensors)

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the buffers on the device."""
        return sum(buffer.numel() for buffer in self._buffers)

    def check_integrity(self) -> None:
        """Raise AssertionError when a parameter at rest is not the one in host memory."""
        for piece, tensors in zip(self.pieces, self._host, strict=True):
            for parameter, tensor in zip(piece.parameters(), tensors, strict=True):
                assert parameter.data_ptr() == tensor.data_ptr()

    def _move_rest(self, model: Any) -> None:
        waiting = {id(parameter) for piece in self.pieces for parameter in piece.parameters()}
        for tensor in (*model.parameters(), *model.buffers()):
            if id(tensor) not in waiting:
                tensor.data = tensor.data.to(self._device)

    def _before(self, index: int) -> Any:
        def hook(*_: Any) -> None:
            slot = index % BUFFERS
            if self._held[slot] != index:
                self._copy(index)
            if self._streams:
                torch.cuda.current_stream(self._device).wait_event(self._copied[slot])
            for parameter, view in zip(self.pieces[index].parameters(), self._views(index), strict=True):
                parameter.data = view
            if index + 1 < len(self.pieces):
                self._copy(index + 1)

        return hook

    def _after(self, index: int) -> Any:
        def hook(*_: Any) -> None:
            for parameter, tensor in zip(self.pieces[index].parameters(), self._host[index], strict=True):
                parameter.data = tensor
            if self._streams:
                self._used[index % BUFFERS] = torch.cuda.current_stream(self._device).record_event()

        return hook

    def _copy(self, index: int) -> None:
        """Bring a piece into its buffer, whose former piece has been used."""
        slot = index % BUFFERS
        if self._streams:
            with torch.cuda.stream(self._copying):
                if self._used[slot] is not None:
                    self._copying.wait_event(self._used[slot])
                self._fill(index)
                self._copied[slot] = self._copying.record_event()
        else:
            self._fill(index)
        self._held[slot] = index

    def _fill(self, index: int) -> None:
        for view, tensor in zip(self._views(index), self._host[index], strict=True):
            view.copy_(tensor, non_blocking=True)

    def _views(self, index: int) -> Iterator[torch.Tensor]:
        """The piece's tensors in its buffer."""
        buffer, at = self._buffers[index % BUFFERS], 0
        for tensor in self._host[index]:
            size = tensor.numel() * tensor.element_size()
            yield buffer[at : at + size].view(tensor.dtype).view(tensor.shape)
            at += _room(tensor)


def _to_host(piece: Piece, *, pin: bool) -> Sequence[torch.Tensor]:
    """The piece's tensors in host memory, pinned so that a copy does not wait for the CPU."""
    tensors = []
    for parameter in piece.parameters():
        parameter.requires_grad_(False)
        held = parameter.data.contiguous()
        parameter.data = held.pin_memory() if pin else held
        tensors.append(parameter.data)
    return tensors


def _room(tensor: torch.Tensor) -> int:
    return -(-tensor.numel() * tensor.element_size() // ALIGNMENT) * ALIGNMENT
