"""Patterns of policies: wildcards, variables, ARNs part by part; and what matching may cost."""

from __future__ import annotations

import time

import pytest

from broker.domain.policies.patterns import ArnPattern, Pattern, read, resource

VALUES = {"aws:username": ["ann"], "aws:userid": ["AIDA1"], "s3:prefix": ["a", "b"], "star": ["*"]}


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("*", "a\nb", True),
        ("?", "", False),
        ("?", "\n", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a*", "a", True),
        ("a*c", "abc", True),
        ("a*c", "abcd", False),
        ("*a*", "bab", True),
        ("*ab", "aab", True),
        ("*aab", "aaab", True),
        ("a*a", "a", False),
        ("ab*ba", "aba", False),
        ("*?", "", False),
        ("*?a", "aa", True),
        ("**", "", True),
        ("a.c", "abc", False),
        ("[a]", "a", False),
        ("A", "a", False),
        ("*x*y*z", "1x2y3z", True),
        ("*x*y*z", "1y2x3z", False),
        ("*?x*", "axx", True),
    ],
)
def test_wildcards(pattern: str, text: str, matches: bool) -> None:
    assert Pattern(read(pattern, wildcards=True, variables=False)).matches(text, {}) is matches


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("${aws:username}", "ann", True),
        ("${AWS:UserName}", "ann", True),
        ("${aws:username}", "Ann", False),
        ("home/${aws:username}/*", "home/ann/x", True),
        ("${aws:missing}", "", False),
        ("${aws:missing}", "${aws:missing}", False),
        ("${aws:missing, 'nobody'}", "nobody", True),
        ("${aws:missing,'nobody'}", "nobody", True),
        ("${aws:missing, ''}", "", True),
        ("${aws:username, 'nobody'}", "nobody", False),
        ("${s3:prefix}", "a", False),  # several values are none
        ("${*}", "*", True),
        ("${*}", "x", False),
        ("${?}", "?", True),
        ("${$}{x}", "${x}", True),
        ("${star}", "*", True),
        ("${star}", "x", False),  # no wildcard comes out of a variable
        ("${unclosed", "${unclosed", True),
        ("${}", "${}", True),
        ("$x", "$x", True),
    ],
)
def test_variables(pattern: str, text: str, matches: bool) -> None:
    assert Pattern(read(pattern, wildcards=True, variables=True)).matches(text, VALUES) is matches


def test_without_variables_and_wildcards_a_text_is_what_it_is() -> None:
    plain = Pattern(read("${aws:username}*", wildcards=False, variables=False))
    assert plain.matches("${aws:username}*", VALUES)
    assert not plain.matches("ann", VALUES)


def test_in_any_case_the_values_of_variables_are_too() -> None:
    pattern = Pattern(read("X-${aws:username}", wildcards=False, variables=True), any_case=True)
    assert pattern.matches("x-ANN", {"aws:username": ["Ann"]})


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("arn:aws:sns:*:111122223333:*", "arn:aws:sns:us-east-1:111122223333:news", True),
        ("arn:*:*:*:*:*", "arn:aws:sns:us-east-1:111122223333:a:b", True),
        ("arn:aws:some:*:111122223333:finance/*", "arn:aws:some:us-east-2:9:store:111122223333:finance/a", False),
        ("arn:aws:sns:us-east-1:111122223333:news", "arn:aws:sns:us-east-1:111122223333:News", False),
        ("*", "arn:aws:sns:us-east-1:111122223333:news", False),
        ("arn:aws:sns:*", "arn:aws:sns:us-east-1:111122223333:news", False),
        ("arn:aws:iam::*:user/${aws:username}", "arn:aws:iam::111122223333:user/ann", True),
        ("arn:aws:iam::*:user/*", "no arn", False),
    ],
)
def test_arns_part_by_part(pattern: str, text: str, matches: bool) -> None:
    assert ArnPattern(read(pattern, wildcards=True, variables=True)).matches(text, VALUES) is matches


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("*", "arn:aws:sqs:us-east-1:111122223333:ann", True),
        ("arn:aws:sqs:*:ann", "arn:aws:sqs:us-east-1:111122223333:ann", True),
        ("arn:aws:sqs:*:*:${aws:username}-*", "arn:aws:sqs:us-east-1:111122223333:ann-1", True),
        ("arn:aws:sqs:*:*:${aws:username}-*", "arn:aws:sqs:us-east-1:111122223333:bob-1", False),
        ("arn:aws:sqs:*:*:${aws:username}:${aws:userid}", "arn:aws:sqs:us-east-1:111122223333:ann:AIDA1", True),
        ("arn:aws:sqs:${star}:111122223333:ann", "arn:aws:sqs:us-east-1:111122223333:ann", False),
        ("arn:aws:sqs:us-east-1:111122223333:Ann", "arn:aws:sqs:us-east-1:111122223333:ann", False),
    ],
)
def test_resources(pattern: str, text: str, matches: bool) -> None:
    assert resource(pattern, variables=True).matches(text, VALUES) is matches


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("*a" * 400 + "b", "a" * 2_000),
        ("*" * 4_000 + "b", "a" * 2_000),
        ("?*" * 400 + "b", "a" * 2_000),
        ("*" + "a" * 1_000 + "b", "a" * 2_000),
        ("*" + "a?" * 500 + "b*", "a" * 2_000),
        ("${a" * 2_700, "a"),
    ],
)
def test_no_pattern_makes_matching_explode(pattern: str, text: str) -> None:
    """What doubles with each wildcard would take longer than the universe has; this is milliseconds."""
    began = time.process_time()
    assert not Pattern(read(pattern, wildcards=True, variables=True)).matches(text, {})
    assert time.process_time() - began < 1.0
