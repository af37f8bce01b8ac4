"""Variables of the C library and of OpenMP that cost or save time; both read them when a process starts."""

from __future__ import annotations

FAST_PROCESS = {
    # By default the C library gives every array of a picture's size back to the system, and each new one costs a page
    # fault every 4 kB: 4 of 11 ms for one frame of 1080p to RGB. Arrays up to one 1080p frame are kept and used again.
    # Those of a 4K frame are given back: small arrays that live long settle in the holes that they leave, and curation
    # of 4K in 10 bits took 1.8 GB instead of 1.3; the page faults cost it 3 to 9 % of its time.
    "MALLOC_MMAP_THRESHOLD_": "8388608",
    "MALLOC_TRIM_THRESHOLD_": "134217728",
    # Threads that spin for long starve each other on a busy machine, and threads that never spin wake up on one core:
    # a short spin (some 30 microseconds, known to GNU OpenMP alone) gives a training both cores of a quiet machine.
    "GOMP_SPINCOUNT": "2000",
    "OMP_WAIT_POLICY": "PASSIVE",
}
