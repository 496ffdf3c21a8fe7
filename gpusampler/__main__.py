"""`python -m gpusampler`: the command line, where its script is not on the path."""

import sys

from gpusampler.cli import main

sys.exit(main())
