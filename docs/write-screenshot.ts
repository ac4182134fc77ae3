/** Draws what a terminal showed as an SVG: `write-screenshot.ts FILE.svg < text with colour codes` (e.g. from `tmux capture-pane -e -p`). Runs of more than three allowed rows are cut. */
import { readFileSync, writeFileSync } from 'node:fs';

const [file] = process.argv.slice(2);
if (!file) throw new Error('usage: write-screenshot.ts FILE.svg < terminal output');

/** Pixels; every character is put where a terminal would put it, whatever font the reader has. */
const cell = { width: 7.8, height: 19, font: 13, padding: 18 };
const colours: Readonly<Record<string, string>> = { '31': '#ff7b72', '32': '#7ee787', '33': '#e3b341', '2': '#8b949e', prompt: '#79c0ff' };

interface Piece {
  readonly text: string;
  readonly column: number;
  readonly colour: string;
}

/** A line in pieces of one colour; `colour` is what the line before left on. */
function pieces(line: string, colour: string): { readonly found: Piece[]; readonly colour: string } {
  const found: Piece[] = [];
  let column = 0;
  for (const part of line.split(/(\u001b\[[\d;]*m)/)) {
    const codes = /^\u001b\[([\d;]*)m$/.exec(part)?.[1];
    if (codes === undefined) {
      if (part.trim() !== '') found.push({ text: part, column, colour });
      column += [...part].length;
    } else for (const code of codes.split(';')) colour = Object.hasOwn(colours, code) ? code : ['', '0', '22', '39'].includes(code) ? '' : colour;
  }
  return { found, colour };
}

const plain = (line: string): string => line.replaceAll(/\u001b\[[\d;]*m/g, '');
const isAllowed = (line: string): boolean => plain(line).startsWith('+ Allowed');

/** Of more than three allowed rows in a row the first two, and how many more there were. */
function shortened(lines: readonly string[]): string[] {
  const shown: string[] = [];
  for (let at = 0; at < lines.length;) {
    let end = at;
    while (end < lines.length && isAllowed(lines[end] ?? '')) end += 1;
    const run = lines.slice(at, Math.max(end, at + 1));
    shown.push(...(run.length > 3 ? [...run.slice(0, 2), `\u001b[2m  … ${run.length - 2} more allowed\u001b[0m`] : run));
    at += run.length;
  }
  return shown;
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const lines = shortened(readFileSync(0, 'utf8').trimEnd().split('\n').map((line) => line.trimEnd()));
const columns = Math.max(...lines.map((line) => [...plain(line)].length));
const texts: string[] = [];
let colour = '';
for (const [row, line] of lines.entries()) {
  const read = pieces(line, colour);
  colour = read.colour;
  for (const piece of read.found) {
    const lead = piece.text.length - piece.text.trimStart().length;
    const text = piece.text.trim();
    const x = (cell.padding + (piece.column + lead) * cell.width).toFixed(1);
    const y = cell.padding + (row + 0.75) * cell.height;
    const fill = colours[line.startsWith('$ ') ? 'prompt' : piece.colour];
    texts.push(`<text x="${x}" y="${y.toFixed(1)}" textLength="${([...text].length * cell.width).toFixed(1)}"${fill ? ` fill="${fill}"` : ''}>${escaped(text)}</text>`);
  }
}
const width = Math.ceil(columns * cell.width + 2 * cell.padding);
const height = Math.ceil(lines.length * cell.height + 2 * cell.padding);
const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Terminal: a run of the demo assistant and the card of one approval">
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${cell.font}" fill="#e6edf3" xml:space="preserve">
${texts.join('\n')}
</g>
</svg>
`;
writeFileSync(file, svg);
