"""From a derivation to text: LaTeX, plain text, pages, and the kernels of each target."""
