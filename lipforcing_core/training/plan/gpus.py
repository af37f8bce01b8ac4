"""The GPUs that a run can be planned for: memory, arithmetic, and the bandwidths of memory, links and host.

Sources, all per GPU and per direction:

* ``bf16_tflops``, dense (half of what the data sheets print "with sparsity"), ``fp32_tflops`` without tensor cores, and
  ``memory_gb_s``: NVIDIA's data sheets of H200, H100 SXM5, A100 SXM4, L40S, DGX B200, and the white paper of the Ada
  architecture (RTX 4090, accumulation in float32).
* ``link_gb_s``: NVLink of generation 3, 4 and 5, half of the 600, 900 and 1800 GB/s of the data sheets, which count
  both directions. L40S and RTX 4090 have no NVLink and talk over PCIe 4.0 x16.
* ``host_gb_s``: PCIe 4.0 x16 (32 GB/s) or 5.0 x16 (64 GB/s).
* ``memory_gib``: what PyTorch reports as the total, which is less than the name of the card says.
"""

from __future__ import annotations

from dataclasses import dataclass

from lipforcing_core.base.catalogue import Catalogue, Entry

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Gpu(Entry):
    """One kind of GPU. memory_gib: GiB in all. ``*_tflops``: 1e12 FLOP/s. ``*_gb_s``: 1e9 bytes/s in one direction."""

    memory_gib: float
    bf16_tflops: float
    fp32_tflops: float
    memory_gb_s: float
    link_gb_s: float
    host_gb_s: float


_KINDS = (
    # name, in words, GiB; TFLOP/s in bf16 and fp32; GB/s of the memory, to other GPUs, to the host
    ("h200", "H200 SXM, 141 GB", 139.8, 989.0, 67.0, 4800.0, 450.0, 64.0),
    ("h100", "H100 SXM, 80 GB", 79.1, 989.0, 67.0, 3350.0, 450.0, 64.0),
    ("b200", "B200 SXM, 180 GB", 178.3, 2250.0, 75.0, 8000.0, 900.0, 64.0),
    ("a100-80g", "A100 SXM, 80 GB", 79.1, 312.0, 19.5, 2039.0, 300.0, 32.0),
    ("a100-40g", "A100 SXM, 40 GB", 39.4, 312.0, 19.5, 1555.0, 300.0, 32.0),
    ("l40s", "L40S, 48 GB", 44.4, 362.0, 91.6, 864.0, 32.0, 32.0),
    ("rtx4090", "GeForce RTX 4090, 24 GB", 23.5, 165.0, 82.6, 1008.0, 32.0, 32.0),
)

GPUS = Catalogue[Gpu](
    kind="GPU",
    entries=tuple(
        Gpu(
            name=name,
            summary=summary,
            memory_gib=memory_gib,
            bf16_tflops=bf16,
            fp32_tflops=fp32,
            memory_gb_s=memory,
            link_gb_s=link,
            host_gb_s=host,
        )
        for name, summary, memory_gib, bf16, fp32, memory, link, host in _KINDS
    ),
)
