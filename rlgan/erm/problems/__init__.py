"""Problems: samples with labels, and surfaces."""
