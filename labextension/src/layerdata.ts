/** The data of a diagram, of layers or another, read from a notebook: nothing in it is trusted, so everything is checked, bounded and copied. */

export const MIME_TYPE = 'application/vnd.notebook-containers.layers+json';
/** Any other drawing, with a table of the same facts. */
export const DRAWING_TYPE = 'application/vnd.notebook-containers.drawing+json';

export interface ILayer {
  readonly diffId: string;
  readonly instruction: string;
  readonly size: number;
  /** An instruction that made no layer. */
  readonly empty: boolean;
  /** The letter of a layer that several images have; else empty. */
  readonly mark: string;
}

export interface IImage {
  readonly name: string;
  /** Bottom first. */
  readonly layers: readonly ILayer[];
}

/** One shape in pixels: a rectangle, a line of text at its baseline, or a ribbon to (x2, y2). */
export interface IShape {
  readonly kind: 'rect' | 'text' | 'ribbon';
  readonly role: 'head' | 'own' | 'empty' | 'shared';
  /** Which colour among those of what is shared. */
  readonly colour: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly x2: number;
  readonly y2: number;
  readonly radius: number;
  readonly size: number;
  readonly opacity: number;
  readonly text: string;
  readonly lead: string;
  readonly title: string;
  readonly anchor: 'start' | 'middle' | 'end';
  readonly code: boolean;
  readonly strong: boolean;
  readonly inverse: boolean;
}

export interface ITable {
  readonly heads: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface IDiagram {
  readonly title: string;
  /** What sharing saves, or what else there is to count, in words. */
  readonly figures: string;
  readonly images: readonly IImage[];
  /** The facts as a table, when they are no images. */
  readonly table: ITable | null;
  readonly width: number;
  readonly height: number;
  readonly shapes: readonly IShape[];
}

type Row = Record<string, unknown>;

const VERSION = 1;
const MAX_ROWS = 20_000;
const MAX_PIXELS = 100_000;
const MAX_TEXT = 2000;

/** The diagram that the data describes; throws a TypeError for what is not one, or of a version not known here. */
export function diagram(data: unknown): IDiagram {
  const root = object(data);
  if (root.version !== VERSION) {
    throw new TypeError(`version ${text(String(root.version))} of its data is not known here`);
  }
  const drawing = object(root.drawing);
  return {
    title: text(root.title),
    figures: text(root.figures),
    images: root.table === undefined ? array(root.images).map(image) : [],
    table: root.table === undefined ? null : table(root.table),
    width: number(drawing.width, 0),
    height: number(drawing.height, 0),
    shapes: array(drawing.shapes).map(shape)
  };
}

function table(value: unknown): ITable {
  const row = object(value);
  return { heads: array(row.heads).map(head => text(head)), rows: array(row.rows).map(cells => array(cells).map(cell => text(cell))) };
}

function image(value: unknown): IImage {
  const row = object(value);
  return { name: text(row.name), layers: array(row.layers).map(layer) };
}

function layer(value: unknown): ILayer {
  const row = object(value);
  const size = typeof row.size === 'number' && row.size >= 0 ? row.size : 0;
  return { diffId: text(row.diff_id), instruction: text(row.instruction), size, empty: row.empty === true, mark: text(row.mark) };
}

function shape(value: unknown): IShape {
  const row = object(value);
  const [role, colour] = text(row.role).split('-');
  return {
    kind: choice(row.kind, ['rect', 'text', 'ribbon']),
    role: choice(role, ['own', 'head', 'empty', 'shared']),
    colour: number(Number(colour), 0),
    x: number(row.x, 0),
    y: number(row.y, 0),
    width: number(row.width, 0),
    height: number(row.height, 0),
    x2: number(row.x2, 0),
    y2: number(row.y2, 0),
    radius: number(row.radius, 4),
    size: number(row.size, 12),
    opacity: number(row.opacity, 1),
    text: text(row.text),
    lead: text(row.lead),
    title: text(row.title, '\n'),
    anchor: choice(row.anchor, ['start', 'middle', 'end']),
    code: row.code === true,
    strong: row.strong === true,
    inverse: row.inverse === true
  };
}

function object(value: unknown): Row {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError('its data is not what it should be');
  }
  return value as Row;
}

function array(value: unknown): unknown[] {
  if (!Array.isArray(value) || value.length > MAX_ROWS) {
    throw new TypeError(`its data has no list of at most ${MAX_ROWS} where one should be`);
  }
  return value;
}

function number(value: unknown, fallback: number): number {
  return typeof value === 'number' && value >= 0 && value <= MAX_PIXELS ? value : fallback;
}

/** One of the words; the first when it is none of them. */
function choice<T extends string>(value: unknown, words: readonly [T, ...T[]]): T {
  return words.find(word => word === value) ?? words[0];
}

/** Printable text: control and direction characters would let one name look like another. */
function text(value: unknown, keep = ''): string {
  const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
  return typeof value === 'string' ? value.slice(0, MAX_TEXT).replace(hidden, found => (found === keep ? found : ' ')) : '';
}
