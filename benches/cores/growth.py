#!/usr/bin/env python3
"""How the cores grow, from what `cargo bench --bench cores` left in target/criterion: the table of docs/performance.md, and its chart.

    python3 benches/cores/growth.py      prints the table, writes docs/growth.svg
"""
import json
import math
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Where criterion keeps it, what it is called, and the unit of its sizes.
LINES = [
    ("wire/manifest", "wire: a manifest coded and read", "artifacts"),
    ("device/update", "device: an update", "KiB of image"),
    ("link/update", "link: an update over nb-iot", "KiB of image"),
    ("server/deploy", "server: a deployment", "devices"),
    ("queue/heap", "queue, reference: an hour", "devices"),
    ("queue/wheel", "queue: an hour", "devices"),
    ("histogram/take", "histogram: values taken", "values"),
    ("histogram/quantiles", "histogram: five quantiles", "values"),
]
COLORS = ["#1f6fb4", "#b04d08", "#7a4fb5", "#18793a", "#8a8f98", "#bf2430", "#0f7f8c", "#a0631a"]
STYLE = """svg{--bg:#fff;--fg:#1c2430;--muted:#566272;--line:#d8dee6}@media (prefers-color-scheme:dark){svg{--bg:#10151c;--fg:#e6ebf2;--muted:#a3b0bf;\
--line:#2c3744}}text{fill:var(--fg);font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}.tick{fill:var(--muted)}\
.grid{stroke:var(--line)}.even{stroke:var(--muted);stroke-dasharray:4 4}"""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 790, 420, 60, 270, 34, 44


def figures(place):
    """(size, nanoseconds) of a line, from the smallest size on."""
    rows = []
    for estimates in (ROOT / "target/criterion" / place).glob("*/new/estimates.json"):
        size = int(estimates.parent.parent.name.split()[0].split("_")[0])
        rows.append((size, json.loads(estimates.read_text())["median"]["point_estimate"]))
    return sorted(rows)


def shown(nanos):
    for unit, one in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanos >= one:
            return f"{nanos / one:.3g} {unit}"
    return f"{nanos:.3g} ns"


def table(lines):
    yield "| what | sizes | time of each | the largest against the smallest |"
    yield "|---|---|---|---|"
    for _, name, unit, rows in lines:
        (least, first), (most, last) = rows[0], rows[-1]
        sizes = ", ".join(f"{size:,}" for size, _ in rows)
        times = ", ".join(shown(nanos) for _, nanos in rows)
        yield f"| {name} | {sizes} {unit} | {times} | x{most / least:,.0f} takes x{last / first:,.3g} |"


def chart(lines):
    """Time by size, both as multiples of the smallest, both logarithmic: what grows evenly runs along the dashed line."""
    decades = 3
    x = lambda times: LEFT + math.log10(times) / decades * (WIDTH - LEFT - RIGHT)
    y = lambda times: HEIGHT - BOTTOM - math.log10(max(times, 1)) / decades * (HEIGHT - TOP - BOTTOM)
    parts = [f'<text x="{LEFT}" y="20">Time by size, both as multiples of the smallest</text>']
    for power in range(decades + 1):
        at = 10**power
        parts.append(f'<path class="grid" d="M{x(at):.1f} {TOP}V{HEIGHT - BOTTOM}M{LEFT} {y(at):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="tick" x="{x(at):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">x{at:,}</text>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{y(at) + 4:.1f}" text-anchor="end">x{at:,}</text>')
    parts.append(f'<path class="even" d="M{x(1):.1f} {y(1):.1f}L{x(1000):.1f} {y(1000):.1f}"/>')
    ends = sorted(lines, key=lambda line: -line[3][-1][1] / line[3][0][1])
    for rank, (number, name, _, rows) in enumerate(ends):
        size, nanos = rows[0]
        points = " ".join(f"{x(more / size):.1f},{y(longer / nanos):.1f}" for more, longer in rows)
        color = COLORS[number]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{point.split(",")[0]}" cy="{point.split(",")[1]}" r="3" fill="{color}"/>' for point in points.split()]
        top = TOP + 12 + rank * 24
        parts.append(f'<rect x="{WIDTH - RIGHT + 16}" y="{top - 9}" width="14" height="10" fill="{color}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 38}" y="{top}">{name}</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">\n'
        f'<title>How the cores grow</title>\n<style>{STYLE}</style>\n<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="var(--bg)"/>\n{body}\n</svg>\n'
    )


def main():
    lines = [(number, name, unit, figures(place)) for number, (place, name, unit) in enumerate(LINES)]
    missing = [name for _, name, _, rows in lines if len(rows) < 2]
    if missing:
        raise SystemExit(f"not measured: {', '.join(missing)}; run `cargo bench --bench cores` first")
    print("\n".join(table(lines)))
    (ROOT / "docs/growth.svg").write_text(chart(lines))


if __name__ == "__main__":
    main()
