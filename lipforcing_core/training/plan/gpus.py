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


GPUS = Catalogue[Gpu](
    kind="GPU",
    entries=(
        Gpu(
            name="h200",
            summary="H200 SXM, 141 GB",
            memory_gib=139.8,
            bf16_tflops=989.0,
            fp32_tflops=67.0,
            memory_gb_s=4800.0,
            link_gb_s=450.0,
            host_gb_s=64.0,
        ),
        Gpu(
            name="h100",
            summary="H100 SXM, 80 GB",
            memory_gib=79.1,
            bf16_tflops=989.0,
            fp32_tflops=67.0,
            memory_gb_s=3350.0,
            link_gb_s=450.0,
            host_gb_s=64.0,
        ),
        Gpu(
            name="b200",
            summary="B200 SXM, 180 GB",
            memory_gib=178.3,
            bf16_tflops=2250.0,
            fp32_tflops=75.0,
            memory_gb_s=8000.0,
            link_gb_s=900.0,
            host_gb_s=64.0,
        ),
        Gpu(
            name="a100-80g",
            summary="A100 SXM, 80 GB",
            memory_gib=79.1,
            bf16_tflops=312.0,
            fp32_tflops=19.5,
            memory_gb_s=2039.0,
            link_gb_s=300.0,
            host_gb_s=32.0,
        ),
        Gpu(
            name="a100-40g",
            summary="A100 SXM, 40 GB",
            memory_gib=39.4,
            bf16_tflops=312.0,
            fp32_tflops=19.5,
            memory_gb_s=1555.0,
            link_gb_s=300.0,
            host_gb_s=32.0,
        ),
        Gpu(
            name="l40s",
            summary="L40S, 48 GB",
            memory_gib=44.4,
            bf16_tflops=362.0,
            fp32_tflops=91.6,
            memory_gb_s=864.0,
            link_gb_s=32.0,
            host_gb_s=32.0,
        ),
        Gpu(
            name="rtx4090",
            summary="GeForce RTX 4090, 24 GB",
            memory_gib=23.5,
            bf16_tflops=165.0,
            fp32_tflops=82.6,
            memory_gb_s=1008.0,
            link_gb_s=32.0,
            host_gb_s=32.0,
        ),
    ),
)
