"""Window attention for CPUs, in C++ that is compiled for the processor when it is first used."""
