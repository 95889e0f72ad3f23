import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Api } from './api';
import { addCommands, CommandIDs } from './commands';
import { Model } from './model';
import { ContainersPanel } from './panel';

export const sidebar: JupyterFrontEndPlugin<void> = {
  id: 'notebook-containers:sidebar',
  description: 'Lists containers and images beside the notebook, and starts, stops and removes them.',
  autoStart: true,
  optional: [ITranslator, ISettingRegistry, ICommandPalette, ILayoutRestorer],
  activate: async (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    registry: ISettingRegistry | null,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ): Promise<void> => {
    const trans = (translator ?? nullTranslator).load('notebook_containers');
    const model = new Model(new Api(app.serviceManager.serverSettings), trans);
    addCommands(app, model, trans);
    for (const command of CommandIDs.all) {
      palette?.addItem({ command, category: trans.__('Containers'), args: { isPalette: true } });
    }
    const settings = await registry?.load(sidebar.id).catch(() => undefined);
    const panel = new ContainersPanel({ model, commands: app.commands, trans, version: settings?.version ?? '' });
    app.shell.add(panel, 'left', { rank: 900, type: 'Containers' });
    restorer?.add(panel, panel.id);
    const apply = () => {
      model.interval = settings?.composite.refreshInterval as number;
    };
    if (settings) {
      apply();
      settings.changed.connect(apply);
    }
  }
};
