"""generate() and forward() in all their forms give one answer."""

import copy
import logging as python_logging

import pytest
import torch
from cogvlm2_cases import greedy
from transformers import DynamicCache, StaticCache, TextIteratorStreamer

from guardedvlm.cogvlm2 import CogVLM2ForCausalLM
from guardedvlm.errors import InvalidInput, Reason

CLOSE = 2e-4
HISTORY = [("What is it?", "A dog."), ("Is it asleep?", "No.")]


@pytest.fixture
def prompt(processor, picture):
    return dict(processor(images=picture, text="And its colour?", history=HISTORY))


@pytest.fixture
def batch(processor, picture):
    """Mixed: an image, text alone, an image with a longer question."""
    return dict(
        processor(images=[picture, None, picture[::-1].copy()], text=["A?", "Why so?", "What is in the image?"])
    )


def answer(found, inputs):
    return found.sequences[:, inputs["input_ids"].shape[1] :]


@pytest.mark.parametrize("options", [{"cache_implementation": "static"}, {"use_cache": False}])
def test_caches_change_nothing(model, batch, options):
    plain, other = greedy(model, batch, 8), greedy(model, batch, 8, **options)
    assert torch.equal(plain.sequences, other.sequences)
    for one, two in zip(plain.logits, other.logits, strict=True):
        assert (one - two).abs().max() <= CLOSE


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_implementations_agree(model, checkpoint_dir, batch, attention):
    other = CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, dtype=torch.float32, attn_implementation=attention)
    assert other.config._attn_implementation == attention
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        assert (model(**batch).logits - other(**batch).logits)[real].abs().max() <= CLOSE
        weights = other(**batch, output_attentions=True).attentions
    assert all((one is None) == (attention == "sdpa") for one in weights)
    if attention == "eager":
        assert torch.allclose(weights[0].sum(-1)[:, :, -1], torch.ones(3, 4))


def test_a_batch_is_its_rows(model, processor, picture, batch):
    together = greedy(model, batch, 6)
    rows = [("A?", picture), ("Why so?", None), ("What is in the image?", picture[::-1].copy())]
    for index, (text, image) in enumerate(rows):
        single = dict(processor(images=image, text=text))
        alone = greedy(model, single, 6)
        assert torch.equal(answer(together, batch)[index], answer(alone, single)[0])
        for one, two in zip(together.logits, alone.logits, strict=True):
            assert (one[index] - two[0]).abs().max() <= CLOSE


def test_a_batch_of_text(model, processor):
    inputs = dict(processor(text=["Hi", "A much longer question, to be padded to"], template="base"))
    assert "pixel_values" not in inputs
    together = greedy(model, inputs, 4)
    single = dict(processor(text="Hi", template="base"))
    assert torch.equal(answer(together, inputs)[0], answer(greedy(model, single, 4), single)[0])


def test_types_and_mask_are_derived(model, prompt):
    bare = {key: prompt[key] for key in ("input_ids", "pixel_values")}
    assert torch.equal(greedy(model, bare, 5).sequences, greedy(model, prompt, 5).sequences)
    with torch.no_grad():
        assert torch.equal(model(**bare).logits, model(**prompt).logits)


def test_padding_is_derived(model, batch):
    bare = {key: value for key, value in batch.items() if key != "attention_mask"}
    assert torch.equal(greedy(model, bare, 4).sequences, greedy(model, batch, 4).sequences)


@torch.no_grad()
def test_forward_step_by_step(model, batch):
    """A caller's own loop: the cache remembers how far positions lag behind its slots."""
    whole = greedy(model, batch, 5)
    outputs = model(**batch)
    mask, tokens = batch["attention_mask"], []
    for _ in range(5):
        tokens.append(outputs.logits[:, -1:].argmax(-1))
        mask = torch.cat((mask, mask.new_ones(len(mask), 1)), dim=1)
        outputs = model(tokens[-1], mask, past_key_values=outputs.past_key_values)
    assert torch.equal(torch.cat(tokens, dim=1), answer(whole, batch))


def test_guessed_tokens_change_nothing(model, processor, picture):
    """Assisted decoding: several tokens a step, some of them taken back."""
    inputs = dict(processor(images=picture, text="ab ab ab ab"))
    guessed = greedy(model, inputs, 8, prompt_lookup_num_tokens=3)
    assert torch.equal(guessed.sequences, greedy(model, inputs, 8).sequences)


@torch.no_grad()
def test_types_of_the_whole_continue_a_cache(model, prompt):
    """The prompt in two halves, the second with the types of both: nothing is routed by a half alone."""
    whole = model(**prompt).logits
    cut = model.config.vision_config.image_tokens + 3
    first = {key: value[:, :cut] for key, value in prompt.items() if key != "pixel_values"}
    cache = model(**first, pixel_values=prompt["pixel_values"]).past_key_values
    second = {"input_ids": prompt["input_ids"][:, cut:], "past_key_values": cache}
    for types in ({"token_type_ids": prompt["token_type_ids"]}, {}):
        logits = model(**(second | {"past_key_values": copy.deepcopy(cache)} | types)).logits
        assert (logits - whole[:, cut:]).abs().max() <= CLOSE


@torch.no_grad()
def test_equal_positions_are_no_packed_sequences(model, prompt):
    """Without cache and mask the library looks for several sequences in one row, by positions that do not count up."""
    bare = {key: value for key, value in prompt.items() if key != "attention_mask"}
    assert (model(**bare, use_cache=False).logits - model(**prompt).logits).abs().max() <= CLOSE


@torch.no_grad()
def test_padding_on_the_right_reads_the_same(model, prompt):
    """Not for generate(), but forward() does not mind it."""
    longer = {key: torch.nn.functional.pad(value, (0, 4)) for key, value in prompt.items() if key != "pixel_values"}
    logits = model(**longer, pixel_values=prompt["pixel_values"]).logits
    assert (logits[:, :-4] - model(**prompt).logits).abs().max() <= CLOSE


@torch.no_grad()
def test_a_cache_of_unknown_positions_is_refused(model):
    cache = DynamicCache(config=model.config)
    for layer in range(model.config.num_hidden_layers):
        cache.update(torch.zeros(1, 2, 3, 16), torch.zeros(1, 2, 3, 16), layer)
    with pytest.raises(InvalidInput) as error:
        model(torch.tensor([[1]]), past_key_values=cache)
    assert error.value.reason is Reason.POSITIONS_UNKNOWN


def test_a_second_turn_continues_the_cache(model, processor, picture):
    first = dict(processor(images=picture, text="What is it?"))
    found = greedy(model, first, 4)
    more = torch.tensor([processor.encode_text("\nQuestion: Why? Answer:")])
    ids = torch.cat((found.sequences, more), dim=1)
    types = torch.zeros_like(ids)
    types[:, : first["token_type_ids"].shape[1]] = first["token_type_ids"]
    second = {"input_ids": ids, "token_type_ids": types, "pixel_values": first["pixel_values"]}
    fresh = greedy(model, second, 4)
    cached = greedy(model, second, 4, past_key_values=found.past_key_values)
    assert torch.equal(fresh.sequences, cached.sequences)
    assert (fresh.logits[0] - cached.logits[0]).abs().max() <= CLOSE


def test_chunked_prefill(model, prompt, processor):
    text = dict(processor(text="A question of some length", template="base"))
    for inputs in (prompt, text):
        chunked = greedy(model, inputs, 4, prefill_chunk_size=7)
        assert torch.equal(chunked.sequences, greedy(model, inputs, 4).sequences)


def test_beams_and_samples(model, batch):
    with torch.no_grad():
        beams = model.generate(**batch, num_beams=2, do_sample=False, max_new_tokens=4)
        torch.manual_seed(5)
        samples = [model.generate(**batch, do_sample=True, top_p=0.9, max_new_tokens=4, num_return_sequences=2)]
        torch.manual_seed(5)
        samples += [model.generate(**batch, do_sample=True, top_p=0.9, max_new_tokens=4, num_return_sequences=2)]
    assert len(beams) == 3
    assert torch.equal(*samples)
    assert len(samples[0]) == 6


def test_streaming(model, processor, prompt):
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, errors="replace")
    with torch.no_grad():
        ids = model.generate(**prompt, do_sample=False, max_new_tokens=6, streamer=streamer)
    assert "".join(streamer) == processor.tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :])


def test_end_of_text_ends_an_answer(model, prompt):
    first = greedy(model, prompt, 1).sequences[0, -1].item()
    with torch.no_grad():
        ids = model.generate(**prompt, do_sample=False, max_new_tokens=6, eos_token_id=[first, 257])
    assert ids.shape[1] == prompt["input_ids"].shape[1] + 1
    assert model.generation_config.eos_token_id == [257, 258]


@torch.no_grad()
def test_logits_to_keep(model, batch):
    whole = model(**batch).logits
    assert whole.shape == (*batch["input_ids"].shape, model.config.vocab_size)
    assert torch.allclose(model(**batch, logits_to_keep=1).logits, whole[:, -1:], atol=1e-5)
    assert torch.allclose(model(**batch, logits_to_keep=torch.tensor([2, 5])).logits, whole[:, [2, 5]], atol=1e-5)


class Calls:
    """Counts what a module is called with."""

    def __init__(self, modules):
        self.rows = []
        self.hooks = [module.register_forward_pre_hook(self._see) for module in modules]

    def _see(self, _module, args):
        self.rows.append(args[0].shape[:-1].numel())

    def __enter__(self):
        return self.rows

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


def test_only_the_work_that_is_needed(model, prompt):
    layers, tokens = model.model.layers, prompt["input_ids"].shape[1]
    visual = model.config.vision_config.image_tokens - 1
    experts = [layer.mlp.vision_mlp for layer in layers]
    experts += [layer.self_attn.vision_expert_dense for layer in layers]
    experts += [layer.self_attn.vision_expert_query_key_value for layer in layers]
    with (
        Calls([model.lm_head]) as head,
        Calls(experts) as vision,
        Calls([layer.mlp.language_mlp for layer in layers]) as language,
        Calls([model.model.vision.linear_proj]) as tower,
    ):
        greedy(model, prompt, 4)
    assert head == [1] * 4, "prefill computes the last position's logits only"
    assert vision == [visual] * len(experts), "vision experts see the image's rows, once, and never decode"
    assert language == [tokens - visual] * len(layers) + [1] * 3 * len(layers)
    assert len(tower) == 1


def test_routing_and_positions_are_made_once(model, prompt, monkeypatch):
    from guardedvlm.cogvlm2 import routing

    made = []
    for name in ("plan_rows", "position_ids"):
        real = getattr(routing, name)
        monkeypatch.setattr(routing, name, lambda *args, real=real, name=name: (made.append(name), real(*args))[1])
    greedy(model, prompt, 5)
    assert sorted(made) == ["plan_rows", "position_ids"]


def test_keys_are_not_repeated(model, prompt, monkeypatch):
    heads = []
    real = torch.nn.functional.scaled_dot_product_attention

    def seen(query, key, value, **options):
        heads.append((query.shape[1], key.shape[1]))
        return real(query, key, value, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", seen)
    for options in ({}, {"cache_implementation": "static"}):
        greedy(model, prompt, 3, **options)
    config = model.config
    tower = (config.vision_config.num_heads, config.vision_config.num_heads)
    assert {keys for pair in heads if pair != tower for keys in pair[1:]} == {config.num_key_value_heads}


def test_flash_attention_falls_back(checkpoint_dir, caplog):
    from transformers.utils import logging

    logging.enable_propagation()
    with caplog.at_level(python_logging.WARNING):
        model = CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, attn_implementation="flash_attention_2")
        CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, attn_implementation="flash_attention_2")
    logging.disable_propagation()
    assert model.config._attn_implementation == "sdpa"
    assert [record.message.count("flash_attention_2") for record in caplog.records if "sdpa" in record.message] == [1]


@torch.no_grad()
def test_decoding_compiles_in_one_graph(model, prompt):
    """One graph, no break, for a step with a static cache: what a GPU turns into one launch."""
    cache = StaticCache(config=model.config, max_cache_len=128)
    tokens = prompt["input_ids"].shape[1]
    outputs = model(**prompt, past_key_values=cache, logits_to_keep=1)
    step = {
        "input_ids": outputs.logits.argmax(-1),
        "position_ids": torch.tensor([[tokens]]),
        "attention_mask": (torch.arange(128) <= tokens)[None, None, None],
        "past_key_values": cache,
        "use_cache": True,
    }
    eager = model(**(step | {"past_key_values": copy.deepcopy(cache)})).logits
    torch._dynamo.reset()
    compiled = torch.compile(model.forward, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(**step).logits, eager, atol=1e-5)


# peft asks by the name that newer versions of the library call old.
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
def test_adapters_find_the_linear_layers(checkpoint_dir, prompt):
    peft = pytest.importorskip("peft")
    names = ["language_expert_query_key_value", "vision_expert_query_key_value", "gate_proj", "query_key_value"]
    adapted = peft.get_peft_model(
        CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, dtype=torch.float32),
        peft.LoraConfig(r=2, target_modules=names, task_type="CAUSAL_LM"),
    )
    adapted.train()
    loss = adapted(**prompt, labels=prompt["input_ids"]).loss
    loss.backward()
    trained = [name for name, value in adapted.named_parameters() if value.grad is not None]
    for part in (*names, "vision.transformer.layers.0.attention"):
        assert any(part in name for name in trained), part


def test_training_with_checkpointed_activations(checkpoint_dir, prompt):
    model = CogVLM2ForCausalLM.from_pretrained(checkpoint_dir, dtype=torch.float32).train()
    gradients = []
    for saves in (False, True):
        if saves:
            # The old name warns where the new one exists.
            enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            enable()
        model.zero_grad()
        model(**prompt, labels=prompt["input_ids"]).loss.backward()
        gradients.append({name: value.grad.clone() for name, value in model.named_parameters()})
    assert all(torch.allclose(gradients[0][name], gradients[1][name], atol=1e-6) for name in gradients[0])


def test_types_of_another_length(model, prompt):
    with pytest.raises(InvalidInput) as error:
        model(**(prompt | {"token_type_ids": prompt["token_type_ids"][:, 1:]}))
    assert error.value.reason in (Reason.IMAGE_TOKENS, Reason.POSITIONS_UNKNOWN)


@pytest.mark.parametrize("shape", [(1, 3, 42, 56), (1, 4, 56, 56), (3, 56, 56)])
def test_pixels_of_another_size(model, prompt, shape):
    with pytest.raises(InvalidInput) as error:
        model(**(prompt | {"pixel_values": torch.zeros(shape)}))
    assert error.value.reason in (Reason.PIXELS_SIZE, Reason.IMAGE_TOKENS)
    if shape[0] == 1:
        assert error.value.reason is Reason.PIXELS_SIZE


@pytest.mark.parametrize(
    "change", [{"pixel_values": None}, {"token_type_ids": None, "input_ids": torch.ones(1, 9).long()}]
)
def test_images_without_their_tokens(model, prompt, change):
    broken = prompt | change
    if "input_ids" in change:
        broken["attention_mask"] = None
    for call in (lambda: model(**broken), lambda: greedy(model, broken, 1)):
        with pytest.raises(InvalidInput) as error:
            call()
        assert error.value.reason is Reason.IMAGE_TOKENS


def test_a_prompt_over_the_context(model, processor):
    limit = model.config.max_position_embeddings
    prompt = {"input_ids": torch.full((1, limit + 1), 65)}
    for call in (lambda: model(**prompt), lambda: greedy(model, prompt, 1)):
        with pytest.raises(InvalidInput) as error:
            call()
        assert error.value.reason is Reason.PROMPT_TOO_LONG
        assert error.value.details == {"positions": limit + 1, "limit": limit}
