"""vLLM in a process of its own: `answer_prompts.py ASKED.json ANSWERED.json` writes each prompt's greedy tokens."""

import json
import sys
from pathlib import Path

from PIL import Image
from vllm import LLM, SamplingParams


def main() -> None:
    asked = json.loads(Path(sys.argv[1]).read_text())
    engine = LLM(asked["directory"], **asked["options"])
    greedy = SamplingParams(temperature=0, max_tokens=asked["tokens"], ignore_eos=True)
    prompts = []
    for one in asked["prompts"]:
        prompt = {"prompt_token_ids": one["words"]}
        if one["image"]:
            prompt["multi_modal_data"] = {"image": Image.open(one["image"])}
        prompts.append(prompt)
    outputs = engine.generate(prompts, greedy, use_tqdm=False)
    Path(sys.argv[2]).write_text(json.dumps([list(output.outputs[0].token_ids) for output in outputs]))


if __name__ == "__main__":
    main()
