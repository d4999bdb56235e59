"""Settings of the service: one frozen tree, from a YAML file and GUARDEDVLM_* variables; an unknown key is an error.

Only `app` and `cli` read settings. Packages below get plain values.
"""

from guardedvlm.config.address import UNIX
from guardedvlm.config.console import ConsoleLogin, ConsoleReview, ConsoleSettings
from guardedvlm.config.inference import Attention, InferenceEngine, InferenceSettings
from guardedvlm.config.jwt import Jwt, SignatureAlgorithm
from guardedvlm.config.loading import (
    inference_settings,
    load_console_settings,
    load_openai_settings,
    load_playground_settings,
    load_settings,
)
from guardedvlm.config.openai_front import OpenAISettings
from guardedvlm.config.playground import PlaygroundSettings
from guardedvlm.config.service import EMBEDDED, Settings
from guardedvlm.config.tls import ClientTls, Tls

__all__ = [
    "EMBEDDED",
    "UNIX",
    "Attention",
    "ClientTls",
    "ConsoleLogin",
    "ConsoleReview",
    "ConsoleSettings",
    "InferenceEngine",
    "InferenceSettings",
    "Jwt",
    "OpenAISettings",
    "PlaygroundSettings",
    "Settings",
    "SignatureAlgorithm",
    "Tls",
    "inference_settings",
    "load_console_settings",
    "load_openai_settings",
    "load_playground_settings",
    "load_settings",
]
