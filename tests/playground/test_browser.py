"""The page in a real browser: what it opens of a file, and what is left when the session is over."""

import base64
import socket
import threading
import time

import pytest
import uvicorn
from playground_browser import drop, open_browser

from guardedvlm.playground.app import Site, build_playground
from guardedvlm.playground.ports import Offer
from guardedvlm.policy.load import load_policy
from guardedvlm.policy.shipped import default_policies


class Offering:
    """A guard with one policy."""

    async def offers(self):
        return [Offer("finance", load_policy(default_policies() / "finance" / "policy.yaml"))]


@pytest.fixture
def playground():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        found = build_playground(Site("127.0.0.1", port, guard=Offering()))
        server = uvicorn.Server(uvicorn.Config(found.application, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield found, f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(20)


def test_a_file_opens_as_nothing_that_runs_and_ends_with_the_session(playground, tmp_path):
    found, base = playground
    with open_browser(tmp_path / "profile") as context:
        page = context.new_page()
        page.goto(found.token.url(base))
        page.wait_for_selector("#policy:not([disabled])")
        page.evaluate(
            """() => { window.made = []; const make = URL.createObjectURL;
            URL.createObjectURL = (blob) => { window.made.push(blob.type); return make.call(URL, blob); };
            window.gone = []; const revoke = URL.revokeObjectURL;
            URL.revokeObjectURL = (url) => { window.gone.push(url); revoke.call(URL, url); }; }"""
        )
        script = base64.b64encode(b"<script>document.title = 'ran'</script>").decode()
        drop(page, script, "a.html", "text/html")
        assert "application/octet-stream" in page.evaluate("window.made")
        drop(page, script, "a.pdf", "application/pdf")
        assert page.evaluate("window.made").count("application/pdf") == 2
        assert len(page.evaluate("window.gone")) == 2
        page.fill("#question", "Who is this?")
        found.sessions.drop_ended()
        for key in list(found.sessions._open):
            found.sessions.end(key)
        page.click("#go")
        page.wait_for_url(f"{base}/login")
        page.go_back()
        page.wait_for_timeout(300)
        assert "Who is this?" not in page.content()
        assert page.locator("#chosen:visible").count() == 0
