"""What the five numbered scripts share. The measuring modules import torch; `common.analysis` never does."""
