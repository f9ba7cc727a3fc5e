import json
import re
from html.parser import HTMLParser

import pytest

from pellucid.errors import DataError
from pellucid.lab.report import write_report


@pytest.fixture
def results(tossing, run_all, tmp_path):
    run_all(tossing.study(), tmp_path)
    return tmp_path


def page(tossing, folder, **changes):
    return write_report([tossing.study(**changes)], folder, folder / "report.html").read_text()


class Loads(HTMLParser):
    """Collects all that a page would load, and its tags."""

    def __init__(self, text):
        super().__init__()
        self.found, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.found += [
            v for k, v in attributes if k in {"src", "srcset", "data", "poster"} or (k, tag) == ("href", "link")
        ]


def test_the_page_says_what_the_results_say(tossing, results):
    text = page(tossing, results)
    assert "Heads win by 2.00 (2.00 to 2.00)." in text
    assert '<li class="supports">' in text
    assert "<li>There are two sides.</li>" in text
    assert "<td>head</td><td>3.0 (0.5 to 5.5)</td>" in text
    assert "pellucid lab run tossing --quick --seeds 3" in text
    assert "Of 1 findings that test a claim, 1\nsupports the lecture, 0\ncontradict it" in text


def test_seeds_of_a_run_that_was_widened(tossing, run_all, results):
    run_all(tossing.study(), results, n_seeds=5)
    assert "pellucid lab run tossing --quick --seeds 5" in page(tossing, results)


def test_an_altered_result_changes_the_sentence(tossing, results):
    path = results / "tossing/head-seed-2.json"
    table = json.loads(path.read_text())
    table["measured"]["value"] = -8.0
    path.write_text(json.dumps(table))
    text = page(tossing, results)
    assert "Heads win by -2.00 (" in text
    assert '<li class="unclear">' in text
    assert "inconclusive</span>" in text
    for seed in (0, 1):
        other = results / f"tossing/head-seed-{seed}.json"
        other.write_text(json.dumps({**json.loads(other.read_text()), "measured": {"value": -10.0 + seed}}))
    assert "contradicts the lecture</span>" in page(tossing, results)


def test_the_page_loads_nothing(tossing, results):
    text = page(tossing, results)
    loads = Loads(text)
    assert loads.found
    assert all(source.startswith("data:image/") for source in loads.found)
    assert not loads.tags & {"script", "link", "iframe", "object"}
    outside = re.sub(r'"data:image/[^"]*"', '""', text)
    assert not re.search(r"https?://|@import|url\(", outside)


def test_texts_are_escaped(tossing, results):
    text = page(tossing, results)
    assert "Tossing &lt;coins&gt;" in text
    assert "Is it fair &amp; square?" in text
    assert "Values &lt; of &gt; all arms." in text


def test_figures_lie_beside_the_results(tossing, results):
    page(tossing, results)
    assert (results / "tossing/values.png").read_bytes().startswith(b"\x89PNG")
    first = (results / "tossing/values.svg").read_bytes()
    page(tossing, results)
    assert (results / "tossing/values.svg").read_bytes() == first


def test_a_study_that_is_not_complete_says_nothing(tossing, results):
    (results / "tossing/head-seed-2.json").unlink()
    text = page(tossing, results)
    assert "1 arms have no result" in text
    assert "Heads win by" not in text


def test_studies_without_results_are_named(tossing, results):
    other = tossing.study(name="other", title="Another")
    text = write_report([tossing.study(), other], results, results / "report.html").read_text()
    assert "Not measured: Another." in text


def test_another_version_is_refused(tossing, results):
    with pytest.raises(DataError, match="has version 1 of the study, but this is version 2"):
        page(tossing, results, version=2)


def test_no_results(tossing, tmp_path):
    with pytest.raises(DataError, match="holds no results: run 'pellucid lab run"):
        page(tossing, tmp_path)
