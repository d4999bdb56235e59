"""What the tests of this folder share beside fixtures."""

from pathlib import Path

import torch

ORACLE = Path(__file__).parents[3] / "shared" / "oracle" / "cogvlm2"
CASES = sorted(path.stem for path in ORACLE.glob("*.npz"))


def greedy(model, inputs, tokens, **options):
    """generate() as the references were made: greedy, the end of text ignored. Gives sequences and raw logits."""
    with torch.no_grad():
        return model.generate(
            **inputs,
            max_new_tokens=tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_logits=True,
            **options,
        )
