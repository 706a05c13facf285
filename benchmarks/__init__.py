"""How fast the kernels are beside other libraries. Run `python -m benchmarks.cpu`; see README.md here."""
