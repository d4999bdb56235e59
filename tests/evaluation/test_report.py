"""A report says what was measured, and nothing in it is markup."""

import json
from html.parser import HTMLParser

import numpy as np

from guardedvlm.audit.facts import Stage
from guardedvlm.evaluation.report import MOST_WORST, Report, Worst, marked
from guardedvlm.evaluation.share import wilson


def report():
    made = Report("Title <b>", "clinic & co", "d1", "guardedvlm eval 'x'", pictures=4)
    made.shares["Group <i>"]["name <u>"] = wilson(1, 4)
    made.refusals["RESIDUAL_FOUND"] += 1
    made.count_times({Stage.READ: 10})
    made.count_times({Stage.READ: 30})
    made.area_hidden += [0.1, 0.3]
    for missed in range(20):
        made.show(Worst(f"picture {missed}", missed, marked(np.zeros((30, 50, 3), np.uint8), [])))
    return made


def test_json_holds_every_figure():
    told = json.loads(report().to_json())
    assert told["shares"]["Group <i>"]["name <u>"] == {
        "value": 0.25,
        "hits": 1,
        "n": 4,
        "low": wilson(1, 4).low,
        "high": wilson(1, 4).high,
    }
    assert told["refused"]["reasons"] == {"RESIDUAL_FOUND": 1}
    assert told["latency_ms"]["READ" if "READ" in told["latency_ms"] else Stage.READ.value]["p50"] == 20
    assert told["area_hidden"] == 0.2
    assert [one["missed"] for one in told["worst"]] == list(range(19, 19 - MOST_WORST, -1))


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.words, self.loads = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data):
        self.words.append(data)


def test_html_escapes_everything_and_loads_nothing():
    page = Page()
    page.feed(report().to_html())
    assert "u" not in page.tags
    assert "i" not in page.tags
    assert "name <u>" in page.words
    assert page.tags.count("img") == MOST_WORST
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.loads)


def test_missed_places_are_outlined_where_they_are():
    import io

    from PIL import Image

    picture = Image.open(
        io.BytesIO(marked(np.zeros((90, 1800, 3), np.uint8), [[(200, 20), (400, 20), (400, 60), (200, 60)]]))
    )
    assert picture.size == (900, 45)
    red = np.asarray(picture)[:, :, 0] > 120
    assert red[10, 105:195].all()
    assert not red[:, :95].any()
