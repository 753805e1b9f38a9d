"""Window attention for CPUs: some C++ that is compiled for the processor when it is first needed."""
