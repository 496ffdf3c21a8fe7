"""CPU: the twin of the kernels on the CPU, the same indices bit for bit; and what it runs on."""
