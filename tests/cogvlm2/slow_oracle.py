"""CogVLM2 once more, as plainly as it can be said: one prompt, one token at a time, float32, no library but tensors.

Slow and obvious on purpose. It takes the checkpoint's tensors by their names and shares no code with the model, so that
batches, padding, caches and gathered rows can be compared with it for prompts that no reference file holds.
"""

import torch
from safetensors import safe_open
from torch.nn.functional import conv2d, gelu, layer_norm, linear, silu

from guardedvlm.cogvlm2 import CogVLM2Config, headers


class SlowOracle:
    def __init__(self, directory):
        self.config = CogVLM2Config.from_pretrained(directory)
        self.tensors = {}
        for name, entry in headers.read_tensors(directory).items():
            with safe_open(entry.path, framework="pt") as file:
                self.tensors[name] = file.get_tensor(name).float()

    def logits(self, ids, types, pixels=None):
        """(tokens, vocabulary) of one prompt: `ids` and `types` are lists, `pixels` is (3, side, side)."""
        states = [self.tensors["model.embed_tokens.weight"][token] for token in ids]
        if pixels is not None:
            image = iter(self.image(pixels))
            states = [next(image) if kind == 1 else state for state, kind in zip(states, types, strict=True)]
        positions, visual = self.positions(types), self.visual(types)
        for index in range(self.config.num_hidden_layers):
            states = self.layer(f"model.layers.{index}.", states, positions, visual)
        states = [self.rms(state, "model.norm.weight") for state in states]
        return torch.stack([linear(state, self.tensors["lm_head.weight"]) for state in states])

    def visual(self, types):
        following = [*types[1:], 0]
        return [kind == 1 and after == 1 for kind, after in zip(types, following, strict=True)]

    def positions(self, types):
        positions, count = [], 0
        for index, kind in enumerate(types):
            first = index == 0 or types[index - 1] == 0
            last = index == len(types) - 1 or types[index + 1] == 0
            inside = kind == 1 and not first and not last
            second = inside and (types[index - 2] == 0 or index == 1)
            if index > 0 and (not inside or second):
                count += 1
            positions.append(count)
        return positions

    def rms(self, state, name):
        return self.tensors[name] * state / torch.sqrt((state**2).mean() + 1e-5)

    def layer(self, prefix, states, positions, visual):
        tensors, config = self.tensors, self.config
        size, heads, kv_heads = config.head_dim, config.num_attention_heads, config.num_multi_query_heads
        frequencies = tensors[prefix + "self_attn.rotary_emb.inv_freq"]
        queries, keys, values = [], [], []
        for state, position, is_visual in zip(states, positions, visual, strict=True):
            expert = f"{prefix}self_attn.{'vision' if is_visual else 'language'}_expert_query_key_value"
            normed = self.rms(state, prefix + "input_layernorm.weight")
            parts = linear(normed, tensors[expert + ".weight"], tensors.get(expert + ".bias")).view(-1, size)
            turned = [self.turned(part, position * frequencies) for part in parts[: heads + kv_heads]]
            queries.append(turned[:heads])
            keys.append(turned[heads:])
            values.append(parts[heads + kv_heads :])
        after = []
        for index, (state, is_visual) in enumerate(zip(states, visual, strict=True)):
            mixed = []
            for head in range(heads):
                group = head // (heads // kv_heads)
                scores = torch.stack([queries[index][head] @ keys[past][group] for past in range(index + 1)])
                shares = (scores / size**0.5).softmax(0)
                mixed.append(sum(shares[past] * values[past][group] for past in range(index + 1)))
            name = "vision" if is_visual else "language"
            state = state + linear(torch.cat(mixed), tensors[f"{prefix}self_attn.{name}_expert_dense.weight"])
            normed = self.rms(state, prefix + "post_attention_layernorm.weight")
            gate, up, down = (tensors[f"{prefix}mlp.{name}_mlp.{part}_proj.weight"] for part in ("gate", "up", "down"))
            after.append(state + linear(silu(linear(normed, gate)) * linear(normed, up), down))
        return after

    def turned(self, part, angles):
        half = len(part) // 2
        pairs = torch.complex(part[:half], part[half:]) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat((pairs.real, pairs.imag))

    def image(self, pixels):
        config, vision = self.config, self.config.vision_config
        tower = {name.removeprefix("model.vision."): value for name, value in self.tensors.items()}
        side, width, patch = vision.image_size // vision.patch_size, vision.hidden_size, vision.patch_size
        states = [tower["patch_embedding.cls_embedding"][0]]
        for row in range(side):
            for column in range(side):
                square = pixels[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
                weight = tower["patch_embedding.proj.weight"].flatten(1)
                states.append(linear(square.flatten(), weight, tower["patch_embedding.proj.bias"]))
        x = torch.stack(states) + tower["patch_embedding.position_embedding.weight"]
        for index in range(vision.num_hidden_layers):
            x = self.vision_layer(lambda name, index=index: tower[f"transformer.layers.{index}.{name}"], x)
        grid = x[1:].T.reshape(1, width, side, side)
        pooled = conv2d(grid, tower["conv.weight"], tower["conv.bias"], stride=2)[0].flatten(1).T
        x = linear(pooled, tower["linear_proj.linear_proj.weight"])
        norm = [tower[f"linear_proj.norm1.{part}"] for part in ("weight", "bias")]
        x = gelu(layer_norm(x, (config.hidden_size,), *norm, 1e-5))
        gate, up = (linear(x, tower[f"linear_proj.{name}.weight"]) for name in ("gate_proj", "dense_h_to_4h"))
        x = linear(silu(gate) * up, tower["linear_proj.dense_4h_to_h.weight"])
        return [tower["boi"][0, 0], *x, tower["eoi"][0, 0]]

    def vision_layer(self, of, x):
        heads = self.config.vision_config.num_heads
        tokens, width = x.shape
        whole = linear(x, of("attention.query_key_value.weight"), of("attention.query_key_value.bias"))
        query, key, value = whole.view(tokens, 3, heads, width // heads).unbind(1)
        mixed = []
        for head in range(heads):
            shares = (query[:, head] @ key[:, head].T / (width // heads) ** 0.5).softmax(-1)
            mixed.append(shares @ value[:, head])
        attended = linear(torch.cat(mixed, dim=-1), of("attention.dense.weight"), of("attention.dense.bias"))
        x = x + layer_norm(attended, (width,), of("input_layernorm.weight"), of("input_layernorm.bias"), 1e-6)
        inner = gelu(linear(x, of("mlp.fc1.weight"), of("mlp.fc1.bias")))
        outer = linear(inner, of("mlp.fc2.weight"), of("mlp.fc2.bias"))
        names = ("post_attention_layernorm.weight", "post_attention_layernorm.bias")
        return x + layer_norm(outer, (width,), *(of(name) for name in names), 1e-6)
