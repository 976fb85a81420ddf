"""What a maintainer runs to make files of this repository again: `make commands`, `make weights DATA=DIR`."""
