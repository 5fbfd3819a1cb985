"""Each operation of `course_lib` timed beside its twins: ``python -m benchmarks``, `make bench`."""
