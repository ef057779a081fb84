"""One page of what scenarios found: report.json and report.html beside their results, a timeline for each."""

import datetime
import html
import json
import pathlib
import subprocess
import sys

WIDTH, HEIGHT, LEFT, TOP = 760, 110, 50, 14
COLOURS = ["#2563eb", "#0d9488", "#9333ea"]
STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --faint: #d5dae0; --good: #15803d; --bad: #b91c1c; --paper: #fff }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --faint: #374151; --good: #4ade80; --bad: #f87171; --paper: #111827 } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 54rem; margin: 2rem auto; padding: 0 1rem }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .2rem } p { margin: .2rem 0 } svg { width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { padding: .1rem .8rem .1rem 0; text-align: left }
td.n { text-align: right } .good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 } text { fill: var(--ink); font-size: 10px }
"""


def bounds(figure):
    signs = (("≤", "atMost"), ("≥", "atLeast"))
    return " ".join(f"{sign} {figure[key]}" for sign, key in signs if figure[key] is not None)


def timeline(outcome):
    """Answers a second of each load, failures in red, and what happened when."""
    steps = [step for load in outcome["loads"] for step in load["timeline"]]
    if not steps:
        return ""
    end = max(step["at"] for step in steps) + outcome["step"]
    most = max(max(step["responses"] for step in steps), 1)
    x = lambda at: LEFT + at / end * WIDTH  # noqa: E731
    y = lambda count: TOP + HEIGHT - count / most * HEIGHT  # noqa: E731
    parts = [
        f'<svg viewBox="0 0 {LEFT + WIDTH + 20} {TOP + HEIGHT + 34}" role="img" aria-label="timeline of {outcome["name"]}">',
        f'<path d="M{LEFT} {TOP}V{TOP + HEIGHT}H{LEFT + WIDTH}" fill="none" stroke="var(--faint)"/>',
        f'<text x="{LEFT - 4}" y="{TOP + 8}" text-anchor="end">{most / outcome["step"]:.0f}/s</text>']
    for number, load in enumerate(outcome["loads"]):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{x(step['at']):.1f},{y(step['responses']):.1f}" for step in load["timeline"])
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        parts.append(f'<text x="{LEFT + 6 + number * 90}" y="{TOP + HEIGHT + 30}" style="fill:{colour}">{html.escape(load["name"])}</text>')
        for step in load["timeline"]:
            if step["failed"]:
                parts.append(f'<circle cx="{x(step["at"]):.1f}" cy="{y(step["responses"]):.1f}" r="3" fill="var(--bad)"/>')
    for number, mark in enumerate(outcome["marks"]):
        at = x(min(mark["at"], end))
        parts.append(
            f'<path d="M{at:.1f} {TOP}V{TOP + HEIGHT}" stroke="var(--ink)" stroke-dasharray="2 3"/>'
            f'<text x="{at:.1f}" y="{TOP + HEIGHT + 12}" text-anchor="middle">{number + 1}</text>')
    return "".join(parts) + "</svg>"


def section(outcome):
    verdict = '<span class="good">passed</span>' if outcome["passed"] else '<span class="bad">FAILED</span>'
    marks = "".join(
        f"<p>{number}: {mark['at']:.2f} s, {html.escape(mark['text'])}</p>" for number, mark in enumerate(outcome["marks"], 1))
    rows = "".join(
        f"<tr><td>{html.escape(figure['name'])}</td><td class=n>{figure['value']}{figure['unit']}</td><td>{bounds(figure)}</td>"
        f"<td class={'good' if figure['passed'] else 'bad'}>{('ok' if figure['passed'] else 'missed') if bounds(figure) else ''}</td></tr>"
        for figure in outcome["figures"])
    return (
        f"<h2>{html.escape(outcome['name'])}: {verdict}</h2><p>{html.escape(outcome['title'])}</p>{timeline(outcome)}{marks}"
        f"<table><tr><th>figure</th><th>value</th><th>must be</th><th></th></tr>{rows}</table>")


def main(folder):
    outcomes = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json")) if file.name != "report.json"]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=folder).stdout.strip()
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "commit": commit,
        "passed": all(outcome["passed"] for outcome in outcomes), "scenarios": outcomes,
    }
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    good = sum(outcome["passed"] for outcome in outcomes)
    (folder / "report.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Scenarios of Sluice</title><style>{STYLE}</style>'
        f"<h1>Scenarios</h1><p>{good} of {len(outcomes)} passed; {report['date']}, commit {html.escape(commit)}. "
        "Lines: answers a second; red: failures; dashed: what happened.</p>"
        + "".join(section(outcome) for outcome in outcomes) + "</html>\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
