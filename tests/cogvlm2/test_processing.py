"""Prompts and pictures into what the model takes."""

import numpy as np
import pytest
import torch
from PIL import Image

from guardedvlm.cogvlm2.image_processing import CLIP_MEAN, CLIP_STD, CogVLM2ImageProcessor
from guardedvlm.cogvlm2.prompts import render
from guardedvlm.errors import InvalidInput, Reason

TURNS = [("Is the sky blue?", "Yes."), ("Why?", "Scattering.")]


@pytest.mark.parametrize(
    ("template", "history", "prompt"),
    [
        ("chat", [], "Question: How? Answer:"),
        ("vqa", [], "Question: How? Short answer:"),
        ("base", [], "How?"),
        (
            "chat",
            TURNS,
            "Question: Is the sky blue? Answer: Yes.\nQuestion: Why? Answer: Scattering.\nQuestion: How? Answer:",
        ),
        ("vqa", TURNS[1:], "Question: Why? Short answer: Scattering.\nQuestion: How? Short answer:"),
    ],
)
def test_templates(processor, template, history, prompt):
    assert render("How?", history, template) == prompt
    ids = processor(text="How?", history=history, template=template)["input_ids"][0].tolist()
    assert ids == [256, *prompt.encode()]


@pytest.mark.parametrize(("template", "history"), [("xml", []), ("base", TURNS), ("chat", [("only one",)])])
def test_what_is_no_prompt(template, history):
    with pytest.raises(InvalidInput) as error:
        render("How?", history, template)
    assert error.value.reason is Reason.FIELD_INVALID


def test_one_prompt_with_an_image(processor, picture):
    found = processor(images=picture, text="How?", template="base")
    tokens = processor.config.vision_config.image_tokens
    assert found["input_ids"].tolist() == [[256, *[259] * tokens, *b"How?"]]
    assert found["token_type_ids"].tolist() == [[0, *[1] * tokens, 0, 0, 0, 0]]
    assert found["attention_mask"].tolist() == [[1] * (tokens + 5)]
    assert found["pixel_values"].shape == (1, 3, 56, 56)
    assert found["input_ids"].dtype == torch.int64
    assert found["pixel_values"].dtype == torch.float32


def test_a_batch_is_padded_on_the_left(processor, picture):
    found = processor(images=[None, picture], text=["Hi", "Hello"], history=[[], TURNS])
    assert found["pixel_values"].shape[0] == 1
    padding = int((found["attention_mask"][0] == 0).sum())
    assert found["attention_mask"].tolist()[0] == [0] * padding + [1] * (found["input_ids"].shape[1] - padding)
    assert found["input_ids"][0, : padding + 1].tolist() == [259] * padding + [256]
    assert found["token_type_ids"][0].sum() == 0
    assert found["token_type_ids"][1].sum() == processor.config.vision_config.image_tokens


def test_control_tokens_in_a_question_are_text(processor):
    text = "<|end_of_text|><|reserved_special_token_0|>"
    assert processor.encode_text(text) == list(text.encode())


@pytest.mark.parametrize("text", ["", "é漢字🙂\n\t\x00", "a" * 3000])
def test_text_survives(processor, text):
    ids = processor.encode_text(text)
    assert ids == list(text.encode())
    assert processor.tokenizer.decode(ids) == text


@pytest.mark.parametrize(
    "options",
    [
        {"text": ["a", "b"], "images": [None]},
        {"text": ["a", "b"], "images": np.zeros((4, 4, 3), np.uint8)},
        {"text": ["a", "b"], "history": [[]]},
        {"text": [], "images": []},
        {"text": "a", "template": "xml"},
    ],
)
def test_rows_that_do_not_match(processor, options):
    with pytest.raises(InvalidInput) as error:
        processor(**options)
    assert error.value.reason is Reason.FIELD_INVALID


def test_the_models_own_square_is_not_resampled():
    square = np.random.default_rng(0).integers(0, 256, (56, 56, 3), np.uint8)
    pixels = CogVLM2ImageProcessor(56)(square)["pixel_values"][0]
    expected = (square / 255 - CLIP_MEAN) / CLIP_STD
    assert np.abs(pixels - expected.transpose(2, 0, 1)).max() < 1e-6


def test_the_aspect_ratio_is_not_kept():
    wide = np.zeros((10, 400, 3), np.uint8)
    wide[:, :200] = 255
    pixels = CogVLM2ImageProcessor(56)(Image.fromarray(wide))["pixel_values"][0]
    assert pixels.shape == (3, 56, 56)
    assert (pixels[:, :, :26] > 1.9).all()
    assert (pixels[:, :, 30:] < -1.4).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1"])
def test_other_modes_become_rgb(mode):
    picture = Image.new("RGB", (9, 5), (200, 10, 60)).convert(mode)
    assert CogVLM2ImageProcessor(28)(picture)["pixel_values"].shape == (1, 3, 28, 28)


@pytest.mark.parametrize(
    "picture", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), "picture.png"]
)
def test_what_is_no_picture(picture):
    with pytest.raises(InvalidInput) as error:
        CogVLM2ImageProcessor(28)([picture])
    assert error.value.reason is Reason.FORMAT_UNSUPPORTED
