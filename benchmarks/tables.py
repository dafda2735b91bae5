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

import regimes_tables
from offramp.reporters.results import Speed

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
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
        f"{100 * data['points']:g} point; share of calibrations that truly miss the goal / mean MACs as a share of "
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


def criteria_matrix() -> str:
    """Every criterion by every goal: its mean gain over the recordings, and how often it is among the best."""
    data = load("criteria_by_goal")
    cells: dict[str, dict[str, list[tuple[float, bool]]]] = {}
    for found in data["recordings"]:
        for choice in found["advice"]["choices"]:
            gains = cells.setdefault(choice["criterion"]["name"], {}).setdefault(_short(choice["goal_in_words"]), [])
            gains.append((100 * choice["gain"]["value"], choice["equal_to_best"]))
    goals = list(next(iter(cells.values())))

    def told(gains: list[tuple[float, bool]]) -> str:
        return f"{sum(g for g, _ in gains) / len(gains):+.2f}, {sum(best for _, best in gains)} of {len(gains)}"

    def worth(name: str) -> float:
        return -sum(gain for gains in cells[name].values() for gain, _ in gains)

    rows = [[f"`{name}`", *(told(cells[name][goal]) for goal in goals)] for name in sorted(cells, key=worth)]
    what = f"mean gain in points, and on how many recordings it is the best or not told from it; {data['folds']} folds"
    return table(["criterion", *goals], rows, origin("criteria_by_goal", "criteria_by_goal", data, what))


def criteria_by_goal() -> str:
    """The best criterion for every goal on every recording, judged on held-out folds."""
    data = load("criteria_by_goal")
    rows = []
    for found in data["recordings"]:
        best: dict[str, dict[str, Any]] = {}
        for choice in found["advice"]["choices"]:
            best.setdefault(choice["goal_in_words"], choice)
        for goal, choice in best.items():
            gain, drop, macs = choice["gain"], choice["drop"], choice["macs_share"]
            rows.append(
                [
                    found["population"],
                    _short(goal),
                    f"`{choice['criterion']['name']}`",
                    f"{choice['accuracy']:.2%}",
                    f"{100 * drop['value']:+.2f} [{100 * drop['low']:+.2f}, {100 * drop['high']:+.2f}]",
                    f"{macs['value']:.3f} [{macs['low']:.3f}, {macs['high']:.3f}]",
                    f"{100 * gain['value']:+.2f} [{100 * gain['low']:+.2f}, {100 * gain['high']:+.2f}]",
                ]
            )
    what = (
        f"the best criterion of each; {data['folds']} folds, seed {data['seed']}, intervals of "
        f"{100 * data['confidence']:g} % by resampling; drop and gain in points; all criteria are in the file"
    )
    header = ["recording", "goal", "criterion", "accuracy", "drop", "MACs of plain", "gain"]
    return table(header, rows, origin("criteria_by_goal", "criteria_by_goal", data, what))


def _short(goal: str) -> str:
    return (
        goal.replace(", judged on the calibration samples", "")
        .replace(", certified at delta = ", ", delta ")
        .replace(" of the plain network", "")
    )


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


def beside_nncf() -> str:
    """Epochs until the exit and final accuracy, ours and NNCF's, per seed."""
    ours, theirs = load("compression_loops"), load("beside_nncf")
    rows = []
    for r in ours["early_exit"]:
        found = [t for t in theirs["rows"] if t["row"] == r["row"]]
        rows.append(
            [
                r["row"],
                _seeds(r["after_init"], "{:.1%}"),
                _seeds([t["after_init"] for t in found], "{:.1%}"),
                _seeds(r["epochs"], "{}"),
                _seeds([t["epochs"] for t in found], "{}"),
                _seeds(r["final"], "{:.1%}"),
                _seeds([t["final"] for t in found], "{:.1%}"),
            ]
        )
    crashed = sorted({r["row"] for r in theirs["rows"] if "crash" in r})
    what = f"seeds 1 to 3, at most 25 epochs. NNCF crashed on every seed of: {', '.join(crashed)}"
    header = ["row", "at once", "NNCF", "epochs", "NNCF", "final", "NNCF"]
    return table(header, rows, origin("beside_nncf", "beside_nncf", theirs, what))


def distiller() -> str:
    """The label-gated total, the label-free one at the same rates, and the deployed one, at the manual's thresholds."""
    data = load("distiller")
    rows = [
        [
            name.removesuffix("_cifar_earlyexit"),
            f"{r['threshold']:g}",
            f"{r['label_gated_exit_percent']:.1f} %",
            f"{r['label_gated_top1']:.1f} %",
            f"{r['same_rate_top1']:.1f} %",
            f"{r['overstatement_points']:+.1f}",
            f"{r['deployed_exit_percent']:.1f} %",
            f"{r['deployed_top1']:.1f} %",
        ]
        for name, run in data["runs"].items()
        for r in run["oracle"]
    ]
    samples = next(iter(data["runs"].values()))["oracle"][0]["samples"]
    what = (
        f"{data['training_images']:,} training images, {data['epochs']} epochs, seed {data['seed']}, {samples:,} test "
        "images; total Top1 of the network with its exit, and the share that left early"
    )
    header = [
        "network",
        "T",
        "left by the label",
        "label-gated",
        "label-free at that rate",
        "points",
        "left",
        "deployed",
    ]
    return table(header, rows, origin("distiller", "distiller", data, what))


def distiller_pass() -> str:
    """Time of a pass with exits beside the plain network's."""
    data = load("distiller")
    found = data["validation_pass"]
    rows = [[f"{r['left_early']:.0%}", f"{r['time_ratio']:.2f}", f"{r['macs_ratio']:.2f}"] for r in found["passes"]]
    what = (
        f"ResNet-20, {found['samples']:,} images of 32x32 in batches of {found['batch']}, the variants taking turns "
        "batch by batch"
    )
    return table(["left early", "time / plain", "MACs / plain"], rows, origin("distiller", "distiller", data, what))


def _seeds(values: Sequence[Any], form: str) -> str:
    return " / ".join("never" if value is None else form.format(value) for value in values)


def compression_searches() -> str:
    """The two loops over rates, per seed."""
    data = load("compression_loops")
    rows = [
        [
            f"{name}, {seeds}",
            _seeds(found["rates_of_adaptive"], "{:.2f}"),
            _seeds(found["epochs_of_adaptive"], "{}"),
            _seeds(found["rates_of_search"], "{:.2f}"),
            _seeds(found["epochs_of_search"], "{}"),
            _seeds(found["epochs_until_found"], "{}"),
            f"{found['found_within_60_percent']} of {found['seeds']}",
        ]
        for seeds, verdicts in (("seeds 1 to 5", "verdicts"), ("21 to 25", "verdicts_unseen"))
        for name, found in data[verdicts].items()
    ]
    what = (
        "by seed; the last two columns: until the search has a rate at least as high as the adaptive loop's in the end"
    )
    header = ["algorithm", "adaptive: rate", "epochs", "search: rate", "epochs", "until as high", "within 60 %"]
    return table(header, rows, origin("compression_loops", "compression_loops", data, what))


def compression_overhead() -> str:
    """Training steps over plain ones."""
    data = load("compression_overhead")
    rows = [[r["case"], f"{r['ratio']:.2f}", f"{r['limit']:.2f}"] for r in data["rows"]]
    what = "ResNet-20, time of a training step over that of plain training, in alternation"
    return table(
        ["algorithms", "ratio", "aim at most"], rows, origin("compression_overhead", "compression_overhead", data, what)
    )


def compress_command() -> str:
    """What `offramp compress` gave, per call."""
    data = load("compress_command")
    rows = []
    for r in data["rows"]:
        stats, size, test = r["statistics"], r["size"], r["test"]
        rows.append(
            [
                f"{r['case']}: {r['subject']}",
                f"{'holds' if r['holds'] else 'does not hold'}, epoch {r['exit_epoch']}",
                f"{stats['uncompressed_accuracy']:.1%} to {stats['compressed_accuracy']:.1%}",
                f"{test['before']:.1%} to {test['after']:.1%}",
                f"{stats['compression_rate']:.2f}",
                *(f"{size['after'][key] / size['before'][key]:.2f}" for key in ("parameters", "macs", "bytes")),
            ]
        )
    header = ["configuration", "criterion", "validation", "test", "rate", "parameters", "MACs", "bytes"]
    what = "the last three over those of the network before"
    return table(header, rows, origin("compress_command", "compress_command", data, what))


def compression_fashion() -> str:
    """Real images: accuracy and latency of what compression leaves."""
    data = load("compression_fashion")
    rows = [
        [
            r["network"],
            f"{r['validation']:.2%}",
            f"{r['test']:.2%}",
            f"{r['latency']:.3f}",
            f"{r['latency_in_its_engine']:.3f}",
        ]
        for r in data["rows"]
    ]
    what = (
        f"ResNet-20, {data['images']:,} training images, {data['epochs']} epochs, then at most {data['tune']}; "
        f"{data['pruning']['macs_gone']:.0%} of the MACs gone; latency of batches of {data['batch']}"
    )
    header = ["network", "validation", "test", "latency over plain", "over plain in its engine"]
    return table(header, rows, origin("compression_fashion", "compression_fashion", data, what))


def criterion_cost() -> str:
    """Share of its stage that each criterion costs."""
    data = load("criteria")
    rows = [
        [f"`{name}`", f"{share:.1%}", f"{data['shares_compiled'][name]:.1%}"]
        for name, share in sorted(data["shares"].items(), key=lambda item: item[1])
    ]
    what = (
        f"time of score and answer over the time of the last early stage and its head; ResNet-20 on 32 x 32, batch "
        f"{data['batch']}, aim at most {data['aim']:.0%}"
    )
    return table(["criterion", "eager", "compiled"], rows, origin("criteria", "criteria", data, what))


def training_overhead() -> str:
    """What training exits costs, and what kept features save."""
    data = load("training_overhead")
    names = {
        "exits": "an epoch with 3 exits / the backbone's alone and the heads' alone",
        "cache": "an epoch of the heads with kept features / without",
    }
    rows = []
    for kind, what in names.items():
        for r in data[kind]:
            ratio = r["ratio"]
            rows.append([what, r["arch"], f"{ratio['median']:.3f}", f"[{ratio['low']:.3f}, {ratio['high']:.3f}]"])
    rounds = sorted({case["ratio"]["rounds"] for case in (*data["exits"], *data["cache"])})
    what = f"ratios of times, medians of {rounds[0]} to {rounds[-1]} rounds in turns, 95 % intervals"
    header = ["ratio", "network", "median", "interval"]
    return table(header, rows, origin("training_overhead", "training_overhead", data, what))


def branchynet() -> str:
    """B-LeNet beside what was published."""
    data = load("branchynet")
    published, setting = data["published"], data["setting"]
    rows = [
        [
            f"BranchyNet, table I ({published['data']})",
            *(f"{published['accuracy'][name]:.2%}" for name in ("plain", "exits")),
            f"{100 * (published['accuracy']['exits'] - published['accuracy']['plain']):+.2f}",
            f"{published['macs_ratio']:.1f}",
            f"{published['shares'][0]:.1%}",
            f"{published['speed_up']:.2f} ({published['device']})",
        ]
    ]
    for name, found in data["networks"].items():
        mean = found["mean"]
        low, high = mean["interval_95"]
        speed = ", ".join(f"{backend} {ratio:.2f}" for backend, ratio in mean["speed_up"].items())
        row = [f"{name}, here (Fashion-MNIST)", f"{mean['plain_accuracy']:.2%}", f"{mean['accuracy']:.2%}"]
        points = f"{mean['points_against_plain']:+.2f} [{low:.2f}, {high:.2f}]"
        rows.append([*row, points, f"{mean['macs_ratio']:.2f}", f"{mean['left_at_first']:.1%}", speed])
    what = (
        f"means over seeds {', '.join(map(str, setting['seeds']))}; {setting['epochs']} epochs of the plain network, "
        f"then {setting['head_epochs']} of the branches alone; 10,000 test images, read once per network; 95 % "
        "interval over the images; MACs with heads; speed at batch 1, each backend against the plain network in it"
    )
    header = ["network", "plain", "with exits", "points", "times fewer MACs", "left at the first exit", "times faster"]
    return table(header, rows, origin("branchynet", "branchynet", data, what))


def runtime() -> str:
    """Speed-up over the plain network, and percent of the bound, for batches of networks with random weights."""
    return _rates("runtime", [0.0, 0.25, 0.5, 0.75], ["nobody", "25 %", "50 %", "75 %"])


def trained() -> str:
    """The same for the demo's network under its policy."""
    return _rates("runtime", ["policy", "policy, stream"], ["batch by batch", "as a stream"])


def _rates(name: str, rates: Sequence[float | str], titles: Sequence[str]) -> str:
    data = load(name)
    cells: dict[tuple[str, ...], dict[float | str, str]] = {}
    for r in data["rows"]:
        if r["batch"] > 1 and r["exit_rate"] in rates:
            case = tuple(str(r[key]) for key in ("network", "batch", "backend", "threads"))
            cells.setdefault(case, {})[r["exit_rate"]] = f"{r['speed_up']:.2f} x, {r['percent_of_bound']:.0f} %"
    rows = [[*case, *(found.get(rate, "n/a") for rate in rates)] for case, found in cells.items()]
    rounds = sorted({r["rounds"] for r in data["rows"]})
    what = f"speed-up over plain, and percent of the bound; medians of {rounds[0]} to {rounds[-1]} interleaved rounds"
    header = ["network", "batch", "backend", "threads", *titles]
    return table(header, rows, origin("runtime", "runtime", data, what))


def single() -> str:
    """Batch 1: leaving at each exit, over the plain network and over the stages up to there."""
    data = load("runtime")
    cells: dict[tuple[str, ...], list[str]] = {}
    for r in data["rows"]:
        if r["batch"] == 1:
            case = (r["network"], r["backend"], str(r["threads"]), f"{r['plain_ms']:.2f} ms")
            share = f"{r['runtime_ms'] / r['plain_ms']:.3f}, {r['runtime_over_bound']:.3f}"
            # Plain is timed once for all exits of a case.
            cells.setdefault(case, []).append(share)
    what = "time over plain, and over the time of the stages up to there; medians of interleaved rounds"
    most = max(map(len, cells.values())) - 1
    rows = [[*case, *found[:-1], *[""] * (most - len(found) + 1), found[-1]] for case, found in cells.items()]
    leaving = [f"leaving at exit {k}" for k in range(most)]
    header = ["network", "backend", "threads", "plain", *leaving, "nothing leaves"]
    return table(header, rows, origin("runtime", "runtime", data, what))


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
    header += [f"time at {Speed(**speed).calls}" for speed in runs[0]["speed"]]
    made = runs[0]["provenance"]
    source = (
        f"`offramp demo --seed N --json FILE`: accuracy and MACs on the {runs[0]['headline']['source']['samples']:,} "
        "test images, heads included, as a share of the plain network's; time as a share of the plain network's in the "
        "same backend; "
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


def shown(command: str) -> str:
    """What a command printed, as a block."""
    data = load("shown")
    said = next((c for c in data["commands"] if c["command"].startswith(f"offramp {command}")), None)
    if said is None:
        raise FileNotFoundError(f"benchmarks/results/shown.json has no `offramp {command}`")
    what = f"as printed on {data['device']}, torch {data['versions']['torch']}, commit {data['commit'][:8]}"
    return f"```text\n$ {said['command']}\n{said['said']}\n```\n\n`python benchmarks/shown.py`: {what}.\n"


SHOWN = {
    "timm": "timm:resnet18",
    "bert": "hf:bert",
    "demo": "RUN",
}


TABLES: dict[str, Callable[[], str]] = {
    "validity": validity,
    "power": power,
    "searches": searches,
    "criteria_by_goal": criteria_by_goal,
    "criteria_matrix": criteria_matrix,
    "calibration_speed": calibration_speed,
    "beside_nncf": beside_nncf,
    "distiller": distiller,
    "distiller_pass": distiller_pass,
    "compression_searches": compression_searches,
    "compression_overhead": compression_overhead,
    "compress_command": compress_command,
    "compression_fashion": compression_fashion,
    "criterion_cost": criterion_cost,
    "training_overhead": training_overhead,
    "branchynet": branchynet,
    "runtime": runtime,
    "single": single,
    "trained": trained,
    "earlyon": earlyon,
    "export_matrix": export_matrix,
    "rebatching": rebatching,
    "large_batches": large_batches,
    "cut_matrix": cut_matrix,
    "demo": demo,
    "shown_inspect_demo": partial(shown, "inspect resnet_small"),
    **{
        f"shown_{verb}_{name}": partial(shown, f"{verb} {model}")
        for verb in ("inspect", "verdict", "export")
        for name, model in SHOWN.items()
        if (verb, name) != ("inspect", "demo")
    },
    **regimes_tables.TABLES,
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
