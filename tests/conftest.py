"""Two workers on two cores: one thread each, or they wait for one another."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.pop("HYDRA_FULL_ERROR", None)
os.environ.pop("RLGAN_CONF", None)
