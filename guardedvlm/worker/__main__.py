"""`python -m guardedvlm.worker`: a worker's child process. Only `Worker` starts it."""

import sys

from guardedvlm.worker.child import main

main(sys.argv[1:])
