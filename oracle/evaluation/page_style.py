"""The look of a report's page: light and dark, from a phone to a wide screen."""

CSS = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1c1e21; --soft: #5a6068; --line: #d9dce0; --card: #f6f7f8;
  --own: #e6f1f8; --accent: #0b5f93; --right: #00734f; --wrong: #b23c00; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15171a; --ink: #e6e8ea; --soft: #a4abb3; --line: #363b41; --card: #1d2024; --own: #17303f;
    --accent: #6cb8e6; --right: #45c79c; --wrong: #ff9a66; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem clamp(0.8rem, 3vw, 2.5rem) 4rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1, h2, h3, h4, p, dd, dt { overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 0.6rem; }
h2 { font-size: 1.3rem; margin: 3rem 0 0.8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 2rem 0 0.6rem; }
h4 { font-size: 1rem; margin: 1.5rem 0 0.5rem; }
p { max-width: 46rem; margin: 0.6rem 0; }
a { color: var(--accent); }
nav a { display: inline-block; margin: 0.2rem 1.2rem 0.2rem 0; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.86rem; }
.soft { color: var(--soft); }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) minmax(0, 1fr); gap: 0.25rem 1.2rem; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); margin-bottom: 0.6rem; }
.scroll { overflow-x: auto; max-width: 100%; border: 1px solid var(--line); border-radius: 6px; margin: 0.8rem 0; }
table { border-collapse: collapse; font-size: 0.88rem; min-width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 0.32rem 0.7rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
th { font-weight: 400; max-width: 17rem; }
thead th { font-weight: 600; border-top: 0; background: var(--card); vertical-align: bottom; min-width: 5.5rem; }
th[scope="row"] { min-width: 8rem; }
.scroll tr > :first-child { position: sticky; left: 0; background: var(--ground); }
.scroll thead tr > :first-child { background: var(--card); }
.n { white-space: nowrap; }
.scroll td.own, .scroll tr.own > * { background: var(--own); }
figure { margin: 1rem 0 2.5rem; }
.sheets { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1rem;
  align-items: start; }
.sheets img { display: block; width: 100%; max-width: 38rem; height: auto; padding: 0.7rem; background: #ffffff;
  border: 1px solid var(--line); border-radius: 6px; }
figcaption { color: var(--soft); max-width: 46rem; margin-top: 0.7rem; font-size: 0.93rem; }
@media (min-width: 60rem) { figure.alone { display: grid; grid-template-columns: 38rem minmax(0, 1fr); gap: 1.5rem; } }
.target { border: 1px solid var(--line); border-radius: 6px; padding: 0.3rem 1rem 1rem; margin: 1.2rem 0; }
.target h3 { margin: 0.7rem 0 0; }
.question { margin: 1.1rem 0 0.5rem; font-weight: 600; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr)); gap: 0.6rem; }
.answers.program { grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); }
.answer { min-width: 0; background: var(--card); border-left: 4px solid var(--line); border-radius: 4px;
  padding: 0.45rem 0.7rem; }
.answer p { margin: 0; font-size: 0.86rem; color: var(--soft); }
.answer pre { margin: 0.35rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; overflow-x: auto;
  unicode-bidi: isolate; line-height: 1.45; }
.answer.own { background: var(--own); }
.right { border-left-color: var(--right); }
.wrong { border-left-color: var(--wrong); }
.right strong { color: var(--right); }
.wrong strong { color: var(--wrong); }
@media (max-width: 40rem) {
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: 0.6rem; }
  th, td { padding: 0.3rem 0.45rem; }
  th[scope="row"] { min-width: 5.8rem; }
  .sheets img { padding: 0.3rem; }
  .target { padding: 0.2rem 0.7rem 0.8rem; }
}
@media (prefers-color-scheme: dark) {
  .sheets img { filter: invert(0.92) hue-rotate(180deg); border-color: #cfcfcf; }
}
@media print { .scroll { overflow: visible; } .target, .sheets img { break-inside: avoid; } }
"""
