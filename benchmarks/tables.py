"""Writes the tables of the documentation from the results files, between the markers that name them.

    python benchmarks/tables.py          # rewrites the pages
    python benchmarks/tables.py --check  # only tells whether they are up to date

A page says `<!-- table: validity -->` ... `<!-- end -->`; what stands between is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from offramp.benchmark.answers import ANSWERS
from offramp.benchmark.comparing import Board
from offramp.benchmark.results import Results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SUITE_RESULTS = ROOT / "benchmarks" / "regimes" / "results" / "cpu"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def load(name: str) -> dict[str, Any]:
    """A results file."""
    data: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf8"))
    return data


def table(header: Sequence[str], rows: Sequence[Sequence[str]], source: str) -> str:
    """Markdown, with a line that says where it comes from."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    return "\n".join([*lines, "", source]) + "\n"


def origin(name: str, script: str, data: dict[str, Any], what: str) -> str:
    """Command, device, versions and commit."""
    return (
        f"`python benchmarks/{script}.py`: {what}; {data['device']}, torch {data['versions']['torch']}, commit "
        f"{data['commit'][:8]} (`benchmarks/results/{name}.json`)."
    )


def validity() -> str:
    """Share over budget and mean MACs of every method on every problem."""
    data = load("validity")
    sizes = sorted({r["samples"] for r in data["results"]})
    cells: dict[tuple[str, ...], list[str]] = {}
    for r in sorted(data["results"], key=lambda r: r["samples"]):
        text = f"{r['over_budget'] / r['trials']:.1%} / {r['mean_macs_share']:.3f}"
        delta = f"{r.get('delta', data.get('delta')):g}" if r["method"].startswith("certified") else "-"
        cells.setdefault((r["problem"], r["method"], delta), []).append(text)
    rows = [[*names, *texts] for names, texts in cells.items()]
    trials = max(r["trials"] for r in data["results"])
    what = (
        f"{trials} seeded calibrations each (a fifth of that for the naive choice per exit), budget "
        f"{100 * data['points']:g} point; share of calibrations that truly exceed the budget / mean MACs as a share of "
        "the plain network's"
    )
    header = ["problem", "method", "delta", *(f"n = {n}" for n in sizes)]
    return table(header, rows, origin("validity", "validity", data, what))


def power() -> str:
    """What a certificate costs, against naive choices and the best certificate of one threshold."""
    data = load("power")
    rows = [
        [
            r["population"],
            f"{r['samples']:,}",
            r["method"],
            f"{r['over_budget']:.0%}",
            f"{r['macs_share']:.3f}",
            f"{r['to_naive']:.2f}",
            f"{r['to_one_threshold']:.3f} ± {r['to_one_threshold_error']:.3f}",
        ]
        for r in data["rows"]
    ]
    what = (
        f"{data['trials']} draws each, budget {100 * data['points']:g} point, delta {data['delta']:g}, n / 2 further "
        "samples for tuning; ± one standard error, paired"
    )
    header = ["recording", "n", "method", "over budget", "MACs of plain", "x naive", "x best one threshold"]
    return table(header, rows, origin("power", "power", data, what))


def searches() -> str:
    """Mean MACs of simpler searches over those of the frontier."""
    data = load("searches")
    rows = [
        [
            r["population"],
            f"{r['samples']:,}",
            *(f"{r['excess'][name]:+.1%} / {r['above'][name]:.0%}" for name in data["searches"]),
            f"{r['seconds']:.2f} s",
        ]
        for r in data["rows"]
    ]
    what = (
        "MACs above the frontier's at equal accuracy, mean over accuracies within 3 points of the plain network's, and "
        "how often the search is better than the frontier; time of the frontier"
    )
    header = ["recording", "samples", *data["searches"], "frontier"]
    return table(header, rows, origin("searches", "searches", data, what))


def criteria_by_goal() -> str:
    """Criteria for goals, judged on held-out folds."""
    data = load("criteria_by_goal")
    rows = []
    for found in data["recordings"]:
        for choice in found["advice"]["choices"]:
            gain, drop, macs = choice["gain"], choice["drop"], choice["macs_share"]
            rows.append(
                [
                    found["population"],
                    choice["goal_in_words"],
                    f"`{choice['criterion']['name']}`{' =' if choice['equal_to_best'] else ''}",
                    f"{choice['accuracy']:.2%}",
                    f"{100 * drop['value']:+.2f} [{100 * drop['low']:+.2f}, {100 * drop['high']:+.2f}]",
                    f"{macs['value']:.3f} [{macs['low']:.3f}, {macs['high']:.3f}]",
                    f"{100 * gain['value']:+.2f} [{100 * gain['low']:+.2f}, {100 * gain['high']:+.2f}]",
                ]
            )
    what = (
        f"{data['folds']} folds, seed {data['seed']}, intervals of {100 * data['confidence']:g} % by resampling; drop "
        "and gain in points; = is the best criterion for the goal, or not told from it"
    )
    header = ["recording", "goal", "criterion", "accuracy", "drop", "MACs of plain", "gain"]
    return table(header, rows, origin("criteria_by_goal", "criteria_by_goal", data, what))


def calibration_speed() -> str:
    """Seconds and memory of calibrations."""
    data = load("calibration_speed")
    rows = [
        [
            f"{r['samples']:,} x {r['exits']} x {r['classes']:,}",
            r["goal"],
            f"{r['seconds']:.2f}",
            f"{r['peak_gib']:.2f}",
        ]
        for r in data["rows"]
    ]
    what = "medians of 3; peak memory of the process, the recording included"
    header = ["samples x exits x classes", "goal", "seconds", "peak, GiB"]
    return table(header, rows, origin("calibration_speed", "calibration_speed", data, what))


def runtime() -> str:
    """Speed-up over the plain network, and percent of the bound, for batches."""
    data = load("runtime")
    header = ["network", "batch", "threads", "backend", "leaving", "speed-up", "% of the bound"]
    names = ("network", "batch", "threads", "backend", "exit_rate", "speed_up", "percent_of_bound")
    rows = [[str(r[name]) for name in names] for r in data["rows"] if r["batch"] > 1]
    return table(header, rows, origin("runtime", "runtime", data, f"medians of {data['rounds']} interleaved rounds"))


def single() -> str:
    """Batch 1: leaving at each exit, over the plain network and over the stages up to there."""
    data = load("runtime")
    header = ["network", "threads", "backend", "leaving at", "plain", "with exits", "over plain", "over its stages"]
    rows = [
        [
            r["network"],
            str(r["threads"]),
            r["backend"],
            r["exit_rate"],
            f"{r['plain_ms']:.2f} ms",
            f"{r['runtime_ms']:.2f} ms",
            f"{r['runtime_ms'] / r['plain_ms']:.3f}",
            f"{r['runtime_over_bound']:.3f}",
        ]
        for r in data["rows"]
        if r["batch"] == 1
    ]
    return table(header, rows, origin("runtime", "runtime", data, "medians of interleaved rounds, one sample a call"))


def earlyon() -> str:
    """Times beside the peer's."""
    data = load("earlyon")
    header = ["batch", "leaving", "backend", "plain", f"earlyon {data['earlyon']}", "offramp", "times faster"]
    rows = [
        [
            str(r["batch"]),
            f"{r['exit_rate']:.0%}",
            r["backend"],
            *(f"{r[name]:.1f} ms" for name in ("plain_ms", "earlyon_ms", "offramp_ms")),
            f"{r['times_faster']:.2f}",
        ]
        for r in data["rows"]
    ]
    what = f"{data['rows'][0]['network']}, same heads and thresholds, medians of {data['rounds']} interleaved rounds"
    return table(header, rows, origin("earlyon", "beside_earlyon", data, what))


def export_matrix() -> str:
    """Kinds of models that export to ONNX."""
    data = load("export_matrix")
    rows = []
    for r in data["kinds"]:
        if r["onnx"]:
            compared = f"{r['equal']} of {r['rows']}" + (f", {r['near']} within rounding" if r["near"] else "")
            rows.append([r["kind"], r["engine"], compared, "yes" if r["skips"] else "NO"])
        else:
            rows.append([r["kind"], r["engine"], "not exported: it has no stages", ""])
    what = "small networks with random weights, random inputs and inputs at the thresholds"
    header = ["model", "engine", "decisions equal to the runtime's", "skips"]
    return table(header, rows, origin("export_matrix", "export_matrix", data, what))


def rebatching() -> str:
    """Single requests: throughput ratios, and what became of the deadlines."""
    data = load("rebatching")
    header = ["network", "target", "served / single", "served / served whole", "pulled / collected"]
    header += ["late", "99 % within", "deadline"]
    names = ("served_over_single", "served_over_served_whole", "pulled_over_collected")
    rows = [
        [r["network"], str(r["target"]), *(f"{r[name]:.2f}" for name in names), *deadlines(r["deadlines"])]
        for r in data["saturated"]
    ]
    rows += [
        [f"{r['network']}, {r['arrivals_per_second']:.0f}/s", str(r["target"]), "", "", "", *deadlines(r["deadlines"])]
        for r in data["fixed_rate"]
    ]
    what = "requests of one row, throughput ratios from interleaved rounds on one core"
    return table(header, rows, origin("rebatching", "rebatching", data, what))


def deadlines(found: dict[str, Any]) -> list[str]:
    """Late requests, quantile and deadline."""
    late = f"{found['late']} of {found['requests']:,}"
    return [late, f"{found['p99_ms']:.0f} ms", f"{found['max_wait_ms']:.0f} ms"]


def large_batches() -> str:
    """Batches whose remainders are collected, against isolated ones."""
    data = load("rebatching")
    header = ["network", "batch", "left at each exit", "bound", "isolated calls / bound", "stream / bound"]
    rows = [
        [
            r["network"],
            str(r["batch"]),
            ", ".join(f"{share:.0%}" for share in r["shares"]),
            f"{r['bound_ms']:.1f} ms",
            f"{r['isolated_over_bound']:.3f}",
            f"{r['stream_over_bound']:.3f}",
        ]
        for r in data["batches"]
    ]
    what = "time per batch, medians of interleaved rounds on one core"
    return table(header, rows, origin("rebatching", "rebatching", data, what))


def demo() -> str:
    """The demo's headline, by seed."""
    runs = [json.loads(path.read_text(encoding="utf8")) for path in sorted(RESULTS.glob("demo-seed*.json"))]
    header = ["seed", "plain", "with exits", "mean MACs", "best exit alone at no more MACs", "certified"]
    header += [f"time at batch {speed['batch']}" for speed in runs[0]["speed"]]
    made = runs[0]["provenance"]
    source = (
        f"`offramp demo --seed N --json FILE`: accuracy and MACs on the {runs[0]['headline']['source']['samples']:,} "
        "test images, heads included, as a share of the plain network's; time as a share of the plain network's; "
        f"{made['device']}, torch {made['versions']['torch']}, commit {made['commit'][:8]} "
        "(`benchmarks/results/demo-seed*.json`)."
    )
    return table(header, [demo_row(run) for run in runs], source)


def demo_row(run: dict[str, Any]) -> list[str]:
    """One run."""
    headline, certificate = run["headline"], run["certificate"]
    alone = max(row["accuracy"] for row in run["exits"]["rows"] if row["macs_share"] <= headline["macs_share"])
    promise = f"drop <= {100 * certificate['points']:g} point at {100 * certificate['delta']:g} %"
    return [
        str(run["provenance"]["seed"]),
        f"{headline['plain_accuracy']:.2%}",
        f"{headline['accuracy']:.2%}",
        f"{headline['macs_share']:.1%}",
        f"{alone:.2%}",
        f"{promise} (p = {certificate['p_value']:.3f})",
        *(f"{speed['ratio']:.2f}" for speed in run["speed"]),
    ]


def cut_matrix() -> str:
    """Engine, carry and time of every kind of model."""
    data = load("cut_matrix")
    rows = [
        [
            r["kind"],
            ", ".join(f"`{name}`" for name in r["cuts"]),
            r["engine"],
            ", ".join(map(str, r["tensors"])) or "-",
            "yes" if r["equal"] else "NO",
            f"{r['seconds']:.2f} s",
        ]
        for r in data["rows"]
    ]
    rows += [[r["network"], "", r["engine"], "", "", f"{r['seconds']:.2f} s"] for r in data["full_size"]]
    header = ["model", "cuts", "engine", "tensors that cross", "taking = simulating", "time of `attach`"]
    compared = ", ".join(map(str, data["rows_compared"]))
    what = f"compared at {compared} rows; small networks with random weights, below them two of full size"
    return table(header, rows, origin("cut_matrix", "cut_matrix", data, what))


def regimes(name: str) -> str:
    """One of the answers about training regimes, from the runs of the CPU suite."""
    runs = Results(SUITE_RESULTS).all()
    if not runs:
        raise FileNotFoundError(SUITE_RESULTS)
    board, made = Board(runs), runs[0].made
    seeds = max(len(board.runs(problem, name)) for problem in board.problems for name in board.regimes(problem))
    source = (
        f"`offramp bench regimes benchmarks/regimes/cpu.toml`: {len(runs)} runs, up to {seeds} seeds, 95 % intervals; "
        f"{made['device']}, torch {made['versions']['torch']}, commit {made['commit'][:8]} "
        f"(`{SUITE_RESULTS.relative_to(ROOT)}`)."
    )
    return f"{ANSWERS[name](board) or 'Not measured yet.'}\n\n{source}\n"


TABLES: dict[str, Callable[[], str]] = {
    "validity": validity,
    "power": power,
    "searches": searches,
    "criteria_by_goal": criteria_by_goal,
    "calibration_speed": calibration_speed,
    "runtime": runtime,
    "single": single,
    "earlyon": earlyon,
    "export_matrix": export_matrix,
    "rebatching": rebatching,
    "large_batches": large_batches,
    "cut_matrix": cut_matrix,
    "demo": demo,
    **{name: partial(regimes, name) for name in ANSWERS},
}


def renewed(page: str) -> str:
    """The page with its tables rewritten."""
    return MARKED.sub(lambda found: found[1] + _table_or(found) + found[3], page)


def _table_or(found: re.Match[str]) -> str:
    """The table, or what stands there while nothing was measured yet."""
    try:
        return TABLES[found[2]]()
    except FileNotFoundError:
        return found[0].removeprefix(found[1]).removesuffix(found[3])


def main() -> int:
    """Rewrites or checks every page; 1 where --check finds an old table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for path in PAGES:
        text = path.read_text(encoding="utf8")
        new = renewed(text)
        if new != text:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(new, encoding="utf8")
    print("\n".join(f"{'stale' if check else 'renewed'}: {path}" for path in stale) or "every table is up to date")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
