/** The sidebar: notices on top, then the two lists, fetched only while somebody can see them. */

import { CommandToolbarButton, SidePanel } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { AccordionPanel } from '@lumino/widgets';

import { CommandIDs } from './commands';
import { containerIcon } from './icons';
import { Containers, IContext, Images, notices, section } from './view';

export class ContainersPanel extends SidePanel {
  constructor(private readonly context: IContext) {
    super();
    const { commands, trans } = context;
    this.id = 'notebook-containers:panel';
    this.addClass('jp-nbc-Panel');
    this.title.icon = containerIcon;
    this.title.caption = trans.__('Containers');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Containers'));
    this.header.addWidget(notices(context));
    const containers = section(trans.__('Containers'), Containers, context);
    containers.toolbar.addItem('refresh', new CommandToolbarButton({ commands, id: CommandIDs.refresh, args: { toolbar: true } }));
    this.addWidget(containers);
    this.addWidget(section(trans.__('Images'), Images, context));
    (this.content as AccordionPanel).setRelativeSizes([3, 2]);
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this.context.model.watch();
    }
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.context.model.watch();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.context.model.unwatch();
  }
}
