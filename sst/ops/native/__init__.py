"""Window attention for CPUs: a few hundred lines of C++ that are compiled for the processor when they are first needed."""
