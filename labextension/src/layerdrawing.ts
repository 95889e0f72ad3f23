/** A diagram's shapes as SVG: the roles become classes, so that the theme gives the colours. */

import type { IDiagram, IShape } from './layerdata';

const SVG = 'http://www.w3.org/2000/svg';

// The themes of JupyterLab define this many colours for telling people apart: here they tell layers apart.
const COLOURS = 7;

type Attributes = Record<string, string | number>;

export function drawing(diagram: IDiagram): SVGElement {
  const { width, height, title, shapes } = diagram;
  const svg = element('svg', { class: 'jp-nbc-Diagram', role: 'img', width, height, viewBox: `0 0 ${width} ${height}` });
  svg.append(element('title', {}, title), ...shapes.map(drawn));
  return svg;
}

function drawn(shape: IShape): SVGElement {
  const node = shape.kind === 'text' ? words(shape) : area(shape);
  node.setAttribute('class', ['jp-nbc-Shape', ...flags(shape)].join(' '));
  node.setAttribute('data-kind', shape.kind);
  node.setAttribute('data-role', shape.role);
  node.style.setProperty('--jp-nbc-shared', `var(--jp-collaborator-color${1 + (shape.colour % COLOURS)})`);
  node.style.opacity = String(shape.opacity);
  if (shape.title) {
    node.prepend(element('title', {}, shape.title));
  }
  return node;
}

function flags(shape: IShape): string[] {
  const all = { 'jp-mod-code': shape.code, 'jp-mod-strong': shape.strong, 'jp-mod-inverse': shape.inverse };
  return Object.entries(all).flatMap(([name, on]) => (on ? [name] : []));
}

function words(shape: IShape): SVGElement {
  const node = element('text', { x: shape.x, y: shape.y, 'font-size': shape.size, 'text-anchor': shape.anchor });
  if (shape.lead) {
    node.append(element('tspan', { class: 'jp-mod-strong' }, shape.lead));
  }
  node.append(shape.text);
  return node;
}

function area(shape: IShape): SVGElement {
  const { x, y, width, height, radius, x2, y2 } = shape;
  if (shape.kind === 'rect') {
    return element('rect', { x, y, width, height, rx: radius });
  }
  const middle = (x + x2) / 2;
  const there = `M${x} ${y}C${middle} ${y} ${middle} ${y2} ${x2} ${y2}`;
  const back = `V${y2 + height}C${middle} ${y2 + height} ${middle} ${y + height} ${x} ${y + height}Z`;
  return element('path', { d: there + back });
}

function element(name: string, attributes: Attributes, text = ''): SVGElement {
  const node = document.createElementNS(SVG, name) as SVGElement;
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, String(value));
  }
  node.textContent = text;
  return node;
}
