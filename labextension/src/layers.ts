/** Diagrams in outputs, of layers and others: drawn in the theme's colours, with the same facts as a table. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { ITranslator, nullTranslator, TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { size } from './format';
import { diagram, DRAWING_TYPE, IDiagram, IImage, ILayer, ITable, MIME_TYPE } from './layerdata';
import { drawing } from './layerdrawing';

export const layers: JupyterFrontEndPlugin<void> = {
  id: 'notebook-containers:layers',
  description: 'Draws the layers of images, and other diagrams, in notebook outputs.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (_app: JupyterFrontEnd, registry: IRenderMimeRegistry, translator: ITranslator | null): void => {
    const trans = (translator ?? nullTranslator).load('notebook_containers');
    const createRenderer = () => new LayersWidget(trans);
    // Safe: only elements named here, text nodes and numbers come out of the data, so an untrusted notebook may show it.
    registry.addFactory({ safe: true, mimeTypes: [MIME_TYPE, DRAWING_TYPE], defaultRank: 0, createRenderer });
  }
};

class LayersWidget extends Widget implements IRenderMime.IRenderer {
  constructor(private readonly trans: TranslationBundle) {
    super();
    this.addClass('jp-nbc-Layers');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    try {
      this.node.replaceChildren(...this.content(diagram(model.data[MIME_TYPE] ?? model.data[DRAWING_TYPE])));
    } catch (error) {
      const fallback = model.data['text/plain'];
      this.node.replaceChildren(
        element('p', this.trans.__('This diagram cannot be drawn: %1.', (error as Error).message)),
        element('pre', typeof fallback === 'string' ? fallback : '')
      );
    }
  }

  private content(read: IDiagram): HTMLElement[] {
    const scroll = element('div');
    scroll.className = 'jp-nbc-Scroll';
    scroll.append(drawing(read));
    return [scroll, element('p', read.figures), this.table(read.table ?? this.layers(read.images))];
  }

  private layers(images: readonly IImage[]): ITable {
    const trans = this.trans;
    const heads = [trans.__('Image'), trans.__('Instruction'), trans.__('Size'), trans.__('Mark'), trans.__('Layer')];
    return { heads, rows: images.flatMap(image => [...image.layers].reverse().map(layer => cells(image, layer))) };
  }

  private table(facts: ITable): HTMLElement {
    const [details, table] = [element('details'), element('table')];
    table.append(row('th', facts.heads), ...facts.rows.map(cells => row('td', cells)));
    details.append(element('summary', this.trans.__('As a table')), table);
    return details;
  }
}

function cells(image: IImage, layer: ILayer): string[] {
  const id = layer.diffId.replace(/^sha256:/, '').slice(0, 12);
  return [image.name, layer.instruction, layer.empty ? '' : size(layer.size), layer.mark, layer.empty ? '' : id];
}

function row(kind: 'th' | 'td', texts: readonly string[]): HTMLElement {
  const line = element('tr');
  line.append(...texts.map(text => element(kind, text)));
  return line;
}

function element(name: string, text = ''): HTMLElement {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}
