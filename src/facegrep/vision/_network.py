"""A loaded model: pixels in, named float32 arrays out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facegrep._errors import DeviceUnavailableError, ModelError
from facegrep.vision._graphs import Variant, load_graph
from facegrep.vision._manifest import Input, Model
from facegrep.vision._runtime import CPU, Device, Session, cpu_session, cuda_session, wants_cuda


class Network:
    """A model in an onnxruntime session.

    Parameters
    ----------
    model
        What to load.
    variant
        For the CPU; CUDA runs the plainly folded graph, since the rewritten ones are made for the
        CPU's kernels.
    device
        ``"auto"`` is CUDA where it works; ``"int8"`` runs on the CPU only.
    output_names
        Outputs to compute, checked to exist.

    Notes
    -----
    `run` is reentrant. One session serves all threads: onnxruntime runs it in the calling thread,
    so n callers use n cores, and the weights are held once. (A session a thread was measured, two
    threads on two cores: 113.5 against 112.5 faces/s, for 40 MB more a thread.)
    """

    def __init__(
        self, model: Model, variant: Variant, device: Device, output_names: Sequence[str]
    ) -> None:
        self.model = model
        self._session = self._load(variant, device)
        self.provider: str = self._session.get_providers()[0]
        self._output_names = list(output_names)
        self._check_names()

    def _load(self, variant: Variant, device: Device) -> Session:
        if variant != "int8" and wants_cuda(device):
            try:
                return cuda_session(load_graph(self.model, "folded"))
            except DeviceUnavailableError:
                if device == "cuda":
                    raise
        return cpu_session(load_graph(self.model, variant))

    def _check_names(self) -> None:
        for kind, wanted, tensors in (
            ("input", [self.model.manifest.input.name], self._session.get_inputs()),
            ("output", self._output_names, self._session.get_outputs()),
        ):
            names = [tensor.name for tensor in tensors]
            missing = [name for name in wanted if name not in names]
            if missing:
                raise ModelError(
                    f"model {self.model.name!r}: the graph has no {kind} {missing[0]!r} "
                    f"(it has {', '.join(names)}); correct {self.model.folder / 'manifest.toml'}"
                )

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Run the network on RGB pictures of one size, (n, h, w, 3).

        Raises
        ------
        ModelError
            The graph does not take this size, or failed.
        """
        planes = feed(pixels, self.model.manifest.input)
        try:
            outputs = self._run(planes)
        except Exception as error:  # onnxruntime's errors share no base but Exception
            raise ModelError(
                f"model {self.model.name!r} failed on input {planes.shape}: {error}"
            ) from error
        return dict(zip(self._output_names, outputs, strict=True))

    def _run(self, planes: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        name = self.model.manifest.input.name
        if self.provider == CPU:
            outputs: list[NDArray[np.float32]] = self._session.run(
                self._output_names, {name: planes}
            )
            return outputs
        # Bound outputs stay on the device until all are there, then come back in one go.
        binding = self._session.io_binding()
        binding.bind_cpu_input(name, planes)
        for output in self._output_names:
            binding.bind_output(output, "cuda")
        self._session.run_with_iobinding(binding)
        copied: list[NDArray[np.float32]] = binding.copy_outputs_to_cpu()
        return copied


def feed(pixels: NDArray[np.uint8], spec: Input) -> NDArray[np.float32]:
    """Turn RGB (n, h, w, 3) into what a graph takes: float32 (n, 3, h, w)."""
    channels = pixels[..., ::-1] if spec.channels == "bgr" else pixels
    planes = np.ascontiguousarray(channels.transpose(0, 3, 1, 2)).astype(np.float32)
    if spec.mean != 0.0:
        planes -= np.float32(spec.mean)
    if spec.scale != 1.0:
        planes *= np.float32(spec.scale)
    return planes
