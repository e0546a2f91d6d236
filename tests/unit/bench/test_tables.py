"""The tables that the benches print: figures, ratios, and the marked place in the README."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[3] / "bench"))

from contest import document, table
from contest.report import EXEC, OURS, PLAIN, SUPERVISORD, Report, load

FAST, SLOW = "first, s", "all, s"


def report(name: str = "start") -> Report:
    made = Report(name, "(c) start", [FAST, SLOW], headline={SLOW: "start → all"})
    for first, last in ((1.0, 5.0), (2.0, 4.0), (9.0, 6.0)):
        made.add(OURS, "mindbot-supervisor", first)
        made.add(OURS, "mindbot-supervisor", last, column=1)
    for first, last in ((4.0, 20.0), (4.0, 24.0)):
        made.add(PLAIN, "plain", first)
        made.add(PLAIN, "plain", last, column=1)
    return made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (0.126, "0.13"),
        (9.994, "9.99"),
        (12.34, "12.3"),
        (99.9, "99.9"),
        (1009.6, "1,010"),
        (-12.34, "-12.3"),
    ],
)
def test_a_number_has_the_digits_that_mean_something(value: float, text: str) -> None:
    assert table.number(value) == text


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([3.0, 1.0, 2.0], "2.00 (1.00–3.00)"),
        ([1.0, 2.0, 30.0, 4.0], "3.00 (1.00–30.0)"),
        ([7.0], "7.00"),
        ([], "not measured"),
        ("not noticed", "not noticed"),
    ],
)
def test_a_cell_is_the_median_with_least_and_most_or_words(samples: list[float] | str, text: str) -> None:
    assert table.spread(samples) == text


def test_a_ratio_compares_medians_and_is_left_out_where_there_is_nothing_to_compare() -> None:
    assert table.ratio([1.0, 2.0, 9.0], [4.0, 4.0]) == "0.50×"
    assert table.ratio([1.0], [0.0]) == table.ratio([1.0], "none") == table.ratio("none", [1.0]) == ""


def test_a_table_has_a_row_for_each_contestant_with_ratios_to_its_base_and_the_number_of_samples() -> None:
    head, rule, ours, plain = table.of(report()).splitlines()
    assert head == "|  | first, s | all, s | n |"
    assert rule == "| --- | --- | --- | --- |"
    assert ours == "| mindbot-supervisor | 2.00 (1.00–9.00) · 0.50× | 5.00 (4.00–6.00) · 0.23× | 3 |"
    assert plain == "| plain | 4.00 (4.00–4.00) · 1.00× | 22.0 (20.0–24.0) · 1.00× | 2 |"


def test_columns_with_different_numbers_of_samples_say_both() -> None:
    made = report()
    made.add(OURS, "mindbot-supervisor", 3.0)
    assert "| 3–4 |" in table.of(made)


def test_without_its_base_a_table_has_no_ratios() -> None:
    made = report()
    made.base = EXEC
    assert "×" not in table.of(made)


def test_a_report_is_kept_as_it_was(tmp_path: Path) -> None:
    made = report()
    made.row(SUPERVISORD, "supervisord").cells = ["not noticed", "not noticed"]
    made.save(tmp_path)
    assert load("start", tmp_path) == made
    assert load("another", tmp_path) is None


def test_the_summary_has_a_line_for_each_headline_and_a_column_for_each_contestant_that_took_part() -> None:
    other = Report("hang", "(f) hang", ["noticed, s"], headline={"noticed, s": "hang → noticed"})
    other.add(OURS, "mindbot-supervisor", 10.4)
    other.row(SUPERVISORD, "supervisord").cells = ["not noticed"]
    assert document.summary([report(), other]).splitlines() == [
        "| median | mindbot-supervisor | plain | supervisord |",
        "| --- | --- | --- | --- |",
        "| start → all | **5.00** | 22.0 | – |",
        "| hang → noticed | **10.4** | – | not noticed |",
    ]


def test_the_marked_place_of_the_readme_is_filled_anew_and_nothing_else_changes(tmp_path: Path) -> None:
    readme, page = tmp_path / "README.md", tmp_path / "docs" / "benchmarks.md"
    readme.write_text(f"before\n{document.BEGIN}\nold\n{document.END}\nafter\n")
    document.write([report()], page, readme)
    assert readme.read_text() == f"before\n{document.BEGIN}\n{document.summary([report()])}\n{document.END}\nafter\n"
    assert "Ratios refer to: plain." in page.read_text()
    unmarked = "no marked place"
    assert document.replaced(unmarked, "new") == unmarked
