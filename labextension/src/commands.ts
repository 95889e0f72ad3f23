/** The commands: in the palette they ask which one, in the context menu they act on the row, by code they take an id. */

import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { deleteIcon, refreshIcon, runIcon, stopIcon } from '@jupyterlab/ui-components';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { RequestError } from './api';
import { isRunning, Model, Target } from './model';

export namespace CommandIDs {
  export const refresh = 'notebook-containers:refresh';
  export const start = 'notebook-containers:start';
  export const stop = 'notebook-containers:stop';
  export const remove = 'notebook-containers:remove';
  export const all = [refresh, start, stop, remove];
}

/** The row's element says in these attributes what it shows. */
export const ROW_CLASS = 'jp-nbc-Row';

const CONTAINER_ARGS = {
  type: 'object',
  properties: {
    container: { type: 'string', description: 'Name or id of the container; without it the person is asked' },
    menu: { type: 'boolean', description: 'Act on the row under the context menu' }
  }
};

const REMOVE_ARGS = {
  type: 'object',
  properties: {
    ...CONTAINER_ARGS.properties,
    image: { type: 'string', description: 'Name of the image to remove instead of a container' }
  }
};

export function addCommands(app: JupyterFrontEnd, model: Model, trans: TranslationBundle): void {
  const { commands } = app;
  const find = (args: ReadonlyPartialJSONObject) => named(model, args) ?? pointed(app, model, args);
  const fits = (verb: Verb) => (args: ReadonlyPartialJSONObject) => {
    const target = find(args);
    return target ? verb.accepts(target) : args.menu !== true;
  };
  const verbs: Verb[] = [
    {
      id: CommandIDs.start,
      label: trans.__('Start'),
      ok: trans.__('Start'),
      asking: trans.__('Start a Container…'),
      caption: trans.__('Start a container that has stopped'),
      icon: runIcon,
      accepts: target => target.kind === 'container' && !isRunning(target.row),
      act: async target => target.kind === 'container' && model.start(target.row)
    },
    {
      id: CommandIDs.stop,
      label: trans.__('Stop'),
      ok: trans.__('Stop'),
      asking: trans.__('Stop a Container…'),
      caption: trans.__('Ask a container to end; after ten seconds it is killed'),
      icon: stopIcon,
      accepts: target => target.kind === 'container' && isRunning(target.row),
      act: async target => target.kind === 'container' && model.stop(target.row)
    },
    {
      id: CommandIDs.remove,
      label: trans.__('Remove…'),
      ok: trans.__('Go on'),
      asking: trans.__('Remove a Container or an Image…'),
      caption: trans.__('Remove a container or an image'),
      icon: deleteIcon,
      accepts: () => true,
      act: async target => (await confirmed(target, trans)) && model.remove(target)
    }
  ];
  for (const verb of verbs) {
    commands.addCommand(verb.id, {
      label: args => (args.isPalette ? verb.asking : verb.label),
      caption: verb.caption,
      icon: verb.icon,
      isEnabled: fits(verb),
      isVisible: args => args.menu !== true || fits(verb)(args),
      describedBy: { args: verb.id === CommandIDs.remove ? REMOVE_ARGS : CONTAINER_ARGS },
      execute: args => run(verb, args, find, model, trans)
    });
  }
  commands.addCommand(CommandIDs.refresh, {
    label: args => (args.toolbar ? '' : trans.__('Refresh Containers and Images')),
    caption: trans.__('Fetch the lists of containers and images now'),
    icon: refreshIcon,
    describedBy: { args: { type: 'object', properties: { toolbar: { type: 'boolean', description: 'Show no label' } } } },
    execute: () => model.refresh()
  });
}

interface Verb {
  readonly id: string;
  readonly label: string;
  /** The label of the button that chooses the row. */
  readonly ok: string;
  /** The label where no row is meant yet. */
  readonly asking: string;
  readonly caption: string;
  readonly icon: typeof runIcon;
  accepts(target: Target): boolean;
  act(target: Target): Promise<unknown>;
}

async function run(
  verb: Verb,
  args: ReadonlyPartialJSONObject,
  find: (args: ReadonlyPartialJSONObject) => Target | undefined,
  model: Model,
  trans: TranslationBundle
): Promise<void> {
  if (!model.loaded) {
    await model.refresh();
  }
  const target = find(args) ?? (await chosen(verb, model, trans));
  if (!target) {
    return;
  }
  try {
    await verb.act(target);
  } catch (error) {
    Notification.error(message(error), { autoClose: false });
  }
}

/** The row that the arguments name. */
function named(model: Model, args: ReadonlyPartialJSONObject): Target | undefined {
  const { container, image } = args;
  if (typeof container === 'string') {
    const row = model.containers.find(each => each.id === container || each.name === container);
    return row && { kind: 'container', row };
  }
  const row = model.images.find(each => each.name === image);
  return row && { kind: 'image', row };
}

/** The row under the context menu, or the one that has the keyboard's focus; the palette means none. */
function pointed(app: JupyterFrontEnd, model: Model, args: ReadonlyPartialJSONObject): Target | undefined {
  if (args.isPalette === true) {
    return undefined;
  }
  const isRow = (node: HTMLElement) => node.classList.contains(ROW_CLASS);
  const node = args.menu === true ? app.contextMenuHitTest(isRow) : document.activeElement?.closest<HTMLElement>(`.${ROW_CLASS}`);
  return node ? named(model, { [node.dataset.kind ?? '']: node.dataset.name }) : undefined;
}

/** The row that the person picks from those the verb can be done to. */
async function chosen(verb: Verb, model: Model, trans: TranslationBundle): Promise<Target | undefined> {
  const targets: Target[] = [
    ...model.containers.map(row => ({ kind: 'container', row }) as const),
    ...model.images.map(row => ({ kind: 'image', row }) as const)
  ].filter(verb.accepts);
  if (!targets.length) {
    const problem = model.problem;
    Notification.info(problem ? `${problem.message} ${problem.hint}` : trans.__('There is nothing that this can be done to.'));
    return undefined;
  }
  const items = targets.map(each =>
    each.kind === 'container' ? trans.__('%1 (container, %2)', each.row.name, each.row.status) : trans.__('%1 (image)', each.row.name)
  );
  const { value } = await InputDialog.getItem({ title: verb.caption, items, okLabel: verb.ok });
  return targets[items.indexOf(value ?? '')];
}

async function confirmed(target: Target, trans: TranslationBundle): Promise<boolean> {
  const { name } = target.row;
  const isContainer = target.kind === 'container';
  const result = await showDialog({
    title: isContainer ? trans.__('Remove the container %1?', name) : trans.__('Remove the image %1?', name),
    body: !isContainer
      ? trans.__('Layers that other images use are kept.')
      : isRunning(target.row)
        ? trans.__('It is running: it is killed, and what it wrote to its own file system is lost.')
        : trans.__('What it wrote to its own file system is lost.'),
    buttons: [Dialog.cancelButton({ label: trans.__('Cancel') }), Dialog.warnButton({ label: trans.__('Remove') })],
    defaultButton: 0
  });
  return result.button.accept;
}

function message(error: unknown): string {
  if (error instanceof RequestError && error.hint) {
    return `${error.message} — ${error.hint}`;
  }
  return error instanceof Error ? error.message : String(error);
}
