from pathlib import Path

import pytest

from tests.scenarios.node import verbs  # noqa: F401  registers the sentences
from tests.scenarios.node.interpreter import play

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=[path.stem for path in STORIES])
def test_story(path: Path):
    play(path)


def test_a_sentence_without_a_verb_is_a_mistake(tmp_path: Path):
    story = tmp_path / "story.txt"
    story.write_text("The leader sings.\n")
    with pytest.raises(ValueError, match="The leader sings"):
        play(story)


def test_a_story_that_does_not_hold_says_where(tmp_path: Path):
    story = tmp_path / "story.txt"
    story.write_text(
        "Three nodes start, and one of them leads.\nAll machines lose their power.\n"
        "Within 1000 ms a client has sent 1 messages.\n"
    )
    with pytest.raises(AssertionError, match="line 3"):
        play(story)
