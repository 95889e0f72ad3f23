/** Cells that begin with `%%dockerfile` are shown as Dockerfiles. */

import { LanguageSupport, StreamLanguage } from '@codemirror/language';
import { Compartment, EditorState, Extension, Facet, Prec } from '@codemirror/state';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { EditorExtensionRegistry, IEditorExtensionRegistry } from '@jupyterlab/codemirror';

import { dockerfile } from './dockerfile';

const MAGIC = /^%%dockerfile\b/;
const LONGEST = 16;

export const magics: JupyterFrontEndPlugin<void> = {
  id: 'notebook-containers:magics',
  description: 'Highlights Dockerfiles in cells that begin with %%dockerfile.',
  autoStart: true,
  requires: [IEditorExtensionRegistry],
  activate: (_app: JupyterFrontEnd, extensions: IEditorExtensionRegistry): void => {
    const language = new LanguageSupport(StreamLanguage.define(dockerfile({ magic: true })));
    extensions.addExtension({
      name: 'notebook-containers:magics',
      factory: options => {
        const source = options.model.sharedModel.getSource().slice(0, LONGEST);
        return EditorExtensionRegistry.createImmutableExtension(switching(language, MAGIC.test(source)));
      }
    });
  }
};

/**
 * The cell's own language stays configured; ours comes before it while the first line says so. The switch is made in the transaction that
 * changes the text: setting the cell's MIME type instead races with the kernel's answer, which sets it for all cells.
 */
function switching(language: Extension, first: boolean): Extension {
  const slot = new Compartment();
  const active = Facet.define<boolean, boolean>({ combine: values => values[0] ?? false });
  const content = (on: boolean): Extension => (on ? [active.of(true), Prec.highest(language)] : []);
  const follow = EditorState.transactionExtender.of(transaction => {
    if (!transaction.docChanged) {
      return null;
    }
    const wanted = MAGIC.test(transaction.newDoc.sliceString(0, LONGEST));
    return wanted === transaction.startState.facet(active) ? null : { effects: slot.reconfigure(content(wanted)) };
  });
  return [slot.of(content(first)), follow];
}
